"""`/livez`, `/readyz`, `/healthz`: one question each.

Live: does this process answer? Ready: would a request be answered by us now, and not by a proxy in our place? Healthy:
how is it, in one word? Anonymous callers learn the status and its reason; the details need a key.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from app.backend.health import Health
from app.http.health_report import DETAILS, details, is_answering, word_of
from app.http.json_schema import OBJECT, STRING, Schema, constant, or_null, record, words
from app.http.maintenance_flag import Maintenance
from app.http.operation import Content, Operation, answer, described
from app.http.request_context import current_record
from app.http.services import services

blueprint = Blueprint("health", __name__)


def _record(properties: dict[str, Schema], *optional: str) -> Schema:
    return record(properties | dict.fromkeys(DETAILS, OBJECT), optional=(*optional, *DETAILS))


_READY = _record({"status": words("ready", "maintenance"), "reason": STRING}, "reason")
_NOT_READY = _record({"status": constant("not_ready"), "reason": STRING})
_HEALTH = _record(
    {
        "status": words("ok", "starting", "degraded", "maintenance", "draining"),
        "reason": or_null(STRING),
    }
)


@blueprint.get("/livez")
@described(Operation(answers=answer(record({"status": constant("live")}), "Live")))
def livez() -> dict[str, str]:
    """200 while this process answers."""
    return {"status": "live"}


@blueprint.get("/readyz")
@described(
    Operation(answers={200: (Content(_READY, "Ready"),), 503: (Content(_NOT_READY, "NotReady"),)})
)
def readyz() -> Response:
    """200 when the child has shaken hands and no backoff window is open, or in maintenance; else 503 and the reason."""
    status, maintenance = services().engine.health(), services().maintenance.state()
    answers = is_answering(status, maintenance)
    body = {"status": "ready"}
    if not status.ready:
        body = {"status": "maintenance" if answers else "not_ready", "reason": status.reason or ""}
    response = jsonify(body | _details(status, maintenance))
    response.status_code = 200 if answers else 503
    if not answers:
        response.headers["Retry-After"] = "1"
    return response


@blueprint.get("/healthz")
@described(Operation(answers=answer(_HEALTH, "Health")))
def healthz() -> dict[str, Any]:
    """200 always: `ok`, `starting`, `degraded`, `maintenance` or `draining`."""
    status, maintenance = services().engine.health(), services().maintenance.state()
    word, reason = word_of(status, maintenance)
    return {"status": word, "reason": reason} | _details(status, maintenance)


def _details(status: Health, maintenance: Maintenance) -> dict[str, Any]:
    """Return what only callers with a key learn."""
    if current_record().key_name is None:
        return {}
    return details(services(), status, maintenance)
