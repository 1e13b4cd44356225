"""`/livez`, `/readyz`, `/healthz`: one question each.

Live: does this process answer? Ready: would a request be answered by us now, and not by a proxy in our place? Healthy:
how is it, in one word? Anonymous callers learn the status and its reason; the details need a key.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify

from app.backend.health import Health
from app.http.json_schema import OBJECT, STRING, Schema, constant, or_null, record, words
from app.http.maintenance_flag import Maintenance
from app.http.operation import Content, Operation, answer, described
from app.http.request_context import current_record
from app.http.services import services

blueprint = Blueprint("health", __name__)


_DETAILS = ("account_limits", "answer_store", "child", "maintenance", "reload", "versions")
"""Only for callers with a key."""


def _record(properties: dict[str, Schema], *optional: str) -> Schema:
    return record(properties | dict.fromkeys(_DETAILS, OBJECT), optional=(*optional, *_DETAILS))


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
    status, maintenance = services().engine.health(), _maintenance()
    answers = is_answering(status, maintenance)
    body = {"status": "ready"}
    if not status.ready:
        body = {"status": "maintenance" if answers else "not_ready", "reason": status.reason or ""}
    response = jsonify(body | _details(status, maintenance))
    response.status_code = 200 if answers else 503
    if not answers:
        response.headers["Retry-After"] = "1"
    return response


def is_answering(status: Health, maintenance: Maintenance) -> bool:
    """True where a request gets an answer of ours: in maintenance that takes no child, only a worker that stays."""
    return status.ready or (maintenance.is_on and status.reason != _DRAINING)


@blueprint.get("/healthz")
@described(Operation(answers=answer(_HEALTH, "Health")))
def healthz() -> dict[str, Any]:
    """200 always: `ok`, `starting`, `degraded`, `maintenance` or `draining`."""
    status, maintenance = services().engine.health(), _maintenance()
    word, reason = word_of(status, maintenance)
    return {"status": word, "reason": reason} | _details(status, maintenance)


def word_of(status: Health, maintenance: Maintenance) -> tuple[str, str | None]:
    """Return the service as a whole in one word, and its reason; that of maintenance is the operator's own."""
    if maintenance.is_on and status.reason != _DRAINING:
        return "maintenance", maintenance.reason or None
    if status.ready:
        return "ok", None
    word = "degraded" if status.degraded else _WORDS.get(status.reason or "", "starting")
    return word, status.reason


_DRAINING = "draining"

_WORDS = {_DRAINING: "draining", "degraded": "degraded", "upstream_auth": "degraded"}
"""What a reason means for the service as a whole; every other one passes by itself."""


def _maintenance() -> Maintenance:
    return services().maintenance.state()


def _details(status: Health, maintenance: Maintenance) -> dict[str, Any]:
    if current_record().key_name is None:
        return {}
    here = services()
    hidden = {"ready", "degraded", "reason"}
    details = {name: value for name, value in asdict(status).items() if name not in hidden}
    store = here.answer_store
    return {
        "account_limits": here.engine.backend.account.report(time.time()),
        "answer_store": {
            "kind": store.kind,
            "answers": store.totals.answers,
            "bytes": store.totals.size,
            "problem": store.problem,
        },
        "child": details,
        "maintenance": maintenance.to_json(),
        "reload": here.reload_report(),
        "versions": {**here.options.versions, "codex": status.codex_version or None},
    }
