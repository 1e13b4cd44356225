"""`GET /metrics`: for Prometheus, with a token of its own."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.http.json_schema import STRING
from app.http.operation import Content, Operation, described
from app.http.services import services

blueprint = Blueprint("metrics", __name__)


_TEXT = "text/plain; version=0.0.4"
_OPEN_METRICS = "application/openmetrics-text"


@blueprint.get("/metrics")
@described(
    Operation(answers={200: (Content(STRING, "", _TEXT), Content(STRING, "", _OPEN_METRICS))})
)
def metrics() -> Response:
    """Answer with every metric of all workers, in the format that the scraper prefers."""
    services().gauges.read()
    content, content_type = services().metrics.expose(request.headers.get("Accept"))
    return Response(content, content_type=content_type)
