"""`/internal/status`: everything that is true of the gateway at this moment, small enough to be asked each second."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from flask import Blueprint

from app.budget import Shares
from app.http.health_report import DETAILS, details, word_of
from app.http.json_schema import INTEGER, OBJECT, STRING, Schema, array, or_null, record, words
from app.http.maintenance_flag import utc
from app.http.operation import Operation, answer, described
from app.http.services import services
from app.observability import logs
from app.process.lifecycle import Moment

blueprint = Blueprint("status", __name__, url_prefix="/internal/status")

_USE = record({"used": INTEGER, "limit": INTEGER, "by_key": OBJECT})
_MOMENT = record(
    {
        "at": STRING,
        "what": words("ready", "replaced", "ended_by_us", "exited", "retired"),
        "pid": or_null(INTEGER),
        "reason": or_null(STRING),
        "exit_code": or_null(INTEGER),
        "detail": or_null(STRING),
    }
)
_STATUS: dict[str, Schema] = {
    "at": STRING,
    "status": words("ok", "starting", "degraded", "maintenance", "draining"),
    "reason": or_null(STRING),
    "upstream": STRING,
    "worker": record({"pid": INTEGER, "generation": INTEGER, "serving": INTEGER}),
    "history": array(_MOMENT),
    "turns": _USE,
    "queue": record({"waiting": INTEGER, "limit": INTEGER}),
    "streams": _USE,
    "background": _USE,
    "log_level": record({"level": STRING, "configured": STRING}),
    **dict.fromkeys(DETAILS, OBJECT),
}


@blueprint.get("")
@described(Operation(answers=answer(record(_STATUS), "Status")))
def show() -> dict[str, Any]:
    """Answer with the state of this worker, its child and whatever is bounded."""
    here = services()
    health, maintenance = here.engine.health(), here.maintenance.state()
    word, reason = word_of(health, maintenance)
    admission = here.engine.admission
    return {
        "at": utc(time.time()),
        "status": word,
        "reason": reason,
        "upstream": here.engine.backend.upstream,
        "worker": here.worker_report(),
        "history": [_moment(moment) for moment in health.history],
        "turns": {
            "used": admission.running,
            "limit": admission.limit,
            "by_key": admission.by_owner(),
        },
        "queue": {"waiting": admission.waiting, "limit": admission.most_waiting},
        "streams": _use(here.open_streams.shares),
        "background": _use(here.background.places.shares),
        "log_level": {"level": logs.level(), "configured": here.options.log_level},
        **details(here, health, maintenance),
    }


def _use(shares: Shares) -> dict[str, Any]:
    return {"used": shares.used, "limit": shares.limit, "by_key": shares.by_owner()}


def _moment(moment: Moment) -> dict[str, Any]:
    return asdict(moment) | {"at": utc(moment.at)}
