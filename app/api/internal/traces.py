"""Traces of the last turns, for the operator: `/internal/traces`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.errors import InternalError, UnknownUrl
from app.http.json_schema import BOOLEAN, OBJECT, STRING, array, record, told
from app.http.operation import Operation, answer, described
from app.http.services import services
from app.observability.trace_buffer import TraceBuffer
from app.observability.trace_files import Stored, of_request, summary

blueprint = Blueprint("traces", __name__, url_prefix="/internal/traces")


_LINES = record({"enabled": BOOLEAN, "content": BOOLEAN, "traces": array(OBJECT)})
_TRACES = record({"request_id": STRING, "traces": array(OBJECT)})


@blueprint.get("")
@described(Operation(answers=answer(_LINES, "TraceList")))
def index() -> dict[str, Any]:
    """Answer with a line about each trace, newest first."""
    buffer = services().traces
    lines = list(map(summary, _read(buffer)))
    return {"enabled": buffer.is_on, "content": buffer.has_content, "traces": lines}


@blueprint.get("/<request_id>")
@described(
    Operation(
        answers=answer(_TRACES, "Traces"),
        variables={"request_id": told(STRING, "The `X-Request-Id` of an answer.")},
        errors=(UnknownUrl,),
    )
)
def show(request_id: str) -> dict[str, Any]:
    """Answer with every trace of one request; several, if it had several turns."""
    found = of_request(_read(services().traces), request_id)
    if not found:
        raise UnknownUrl(
            "There is no trace of this request. Only the newest turns of the last 24 hours are kept, and a turn "
            "has its trace a moment after its answer.",
            param="request_id",
            code="TRACE_NOT_FOUND",
        )
    return {"request_id": request_id, "traces": found}


def _read(buffer: TraceBuffer) -> list[Stored]:
    try:
        return buffer.read()
    except OSError as error:
        raise InternalError("The trace buffer cannot be read.") from error
