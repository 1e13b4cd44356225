"""`GET /metrics`: for Prometheus, with a token of its own."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.http.services import services

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Answer with every metric of all workers, in the format that the scraper prefers."""
    services().gauges.read()
    content, content_type = services().metrics.expose(request.headers.get("Accept"))
    return Response(content, content_type=content_type)
