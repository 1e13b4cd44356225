"""`GET /metrics`: for Prometheus, with a token of its own."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from app.observability.gauges import Gauges
from app.observability.metrics import Metrics

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Answer with every metric of all workers, in the format that the scraper prefers."""
    gauges: Gauges = current_app.extensions["gauges"]
    gauges.read()
    exposed: Metrics = current_app.extensions["metrics"]
    content, content_type = exposed.expose(request.headers.get("Accept"))
    return Response(content, content_type=content_type)
