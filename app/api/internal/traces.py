"""`/internal/traces`: what the trace buffer keeps of the last turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Blueprint

from app.errors import InternalError, UnknownUrl
from app.http.services import services
from app.observability.trace_buffer import TraceBuffer

blueprint = Blueprint("traces", __name__, url_prefix="/internal/traces")


@blueprint.get("")
def index() -> dict[str, Any]:
    """Answer with a line about each trace, newest first."""
    buffer = _buffer()
    with _readable():
        found = buffer.summaries()
    return {"enabled": buffer.is_on, "content": buffer.has_content, "traces": found}


@blueprint.get("/<request_id>")
def show(request_id: str) -> dict[str, Any]:
    """Answer with every trace of one request; several, if it had several turns."""
    with _readable():
        found = _buffer().of_request(request_id)
    if not found:
        raise UnknownUrl(
            "There is no trace of this request. Only the newest turns of the last 24 hours are kept, and a turn "
            "has its trace a moment after its answer.",
            param="request_id",
            code="TRACE_NOT_FOUND",
        )
    return {"request_id": request_id, "traces": found}


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InternalError("The trace buffer cannot be read.") from error


def _buffer() -> TraceBuffer:
    return services().traces
