"""`/internal/recent`: the last hour of this worker, minute by minute, and the streams of all workers."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.errors import InternalError
from app.http.json_schema import INTEGER, NUMBER, STRING, array, or_null, record, words
from app.http.operation import Operation, answer, described
from app.http.services import services
from app.observability.faults import FAULTS

blueprint = Blueprint("recent", __name__, url_prefix="/internal/recent")

_QUANTILES = {"p50": or_null(NUMBER), "p95": or_null(NUMBER)}
_BRIEF = record(_QUANTILES)
_SPREAD = record(
    {
        "count": INTEGER,
        **_QUANTILES,
        "p99": or_null(NUMBER),
        "buckets": array(record({"up_to_ms": NUMBER, "count": INTEGER})),
    }
)
_MINUTE = record(
    {
        "at": STRING,
        "requests": INTEGER,
        "errors": INTEGER,
        "first_token_ms": _BRIEF,
        "duration_ms": _BRIEF,
        "input_tokens": INTEGER,
        "cached_tokens": INTEGER,
        "output_tokens": INTEGER,
    }
)
_ERROR = record(
    {
        "code": STRING,
        "fault": words(*FAULTS),
        "count": INTEGER,
        "last_at": STRING,
        "last_route": STRING,
        "last_request_id": STRING,
    }
)
_RECENT = record(
    {
        "since": STRING,
        "minutes": array(_MINUTE),
        "spread_minutes": INTEGER,
        "first_token_ms": _SPREAD,
        "duration_ms": _SPREAD,
        "errors": array(_ERROR),
        "workers": array(record({"pid": INTEGER, "streams": INTEGER})),
    }
)


@blueprint.get("")
@described(Operation(answers=answer(_RECENT, "Recent")))
def show() -> dict[str, Any]:
    """Answer with what ended in the last hour, and whose fault its errors were."""
    here = services()
    try:
        streams = here.metrics.streams_by_worker()
    except OSError as error:
        raise InternalError("The metrics that workers share cannot be read.") from error
    workers = [{"pid": pid, "streams": count} for pid, count in sorted(streams.items())]
    return here.recent.report() | {"workers": workers}
