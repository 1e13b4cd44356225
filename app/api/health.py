"""`/livez`, `/readyz`, `/healthz`: one question each.

Live: does this process answer? Ready: would a request be served now? Healthy: how is it, in one word? Anonymous
callers learn the status and its reason; the details need a key.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app, jsonify

from app.codex.client import Codex, Status
from app.edge.context import current_record

blueprint = Blueprint("health", __name__)


@blueprint.get("/livez")
def livez() -> dict[str, str]:
    """200 while this process answers."""
    return {"status": "live"}


@blueprint.get("/readyz")
def readyz() -> Response:
    """200 when the child has shaken hands and no backoff window is open, else 503 with the reason."""
    status = _status()
    body = {"status": "ready"} if status.ready else {"status": "not_ready", "reason": status.reason}
    response = jsonify(body | _details(status))
    response.status_code = 200 if status.ready else 503
    if not status.ready:
        response.headers["Retry-After"] = "1"
    return response


@blueprint.get("/healthz")
def healthz() -> dict[str, Any]:
    """200 always: `ok`, `starting`, `degraded` or `draining`."""
    status = _status()
    return {"status": _word(status), "reason": status.reason} | _details(status)


def _status() -> Status:
    codex: Codex = current_app.extensions["codex"]
    return codex.status()


def _word(status: Status) -> str:
    if status.ready:
        return "ok"
    return _WORDS.get(status.reason or "", "starting")


_WORDS = {"draining": "draining", "degraded": "degraded", "upstream_auth": "degraded"}
"""What a reason means for the service as a whole; every other one passes by itself."""


def _details(status: Status) -> dict[str, Any]:
    if current_record().key_name is None:
        return {}
    codex: Codex = current_app.extensions["codex"]
    hidden = {"ready", "degraded", "reason"}
    details = {name: value for name, value in asdict(status).items() if name not in hidden}
    return {
        "account_limits": codex.account.report(time.time()),
        "child": details,
        "reload": current_app.extensions["reload_report"](),
        "versions": current_app.config["VERSIONS"],
    }
