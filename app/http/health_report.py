"""Report of health: the service in one word, and the details for callers with a key, of whichever route tells them."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from app.backend.health import Health
from app.http.maintenance_flag import Maintenance
from app.http.services import Services

DETAILS = ("account_limits", "answer_store", "child", "maintenance", "reload", "versions")
"""The names of what `details` returns."""

_NOT_OF_THE_CHILD = frozenset({"ready", "degraded", "reason", "history"})


def is_answering(status: Health, maintenance: Maintenance) -> bool:
    """True where a request gets an answer of ours: in maintenance that takes no child, only a worker that stays."""
    return status.ready or (maintenance.is_on and status.reason != _DRAINING)


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


def details(here: Services, status: Health, maintenance: Maintenance) -> dict[str, Any]:
    """Return for JSON what no stranger learns."""
    child = {name: value for name, value in asdict(status).items() if name not in _NOT_OF_THE_CHILD}
    store = here.answer_store
    return {
        "account_limits": here.engine.backend.account.report(time.time()),
        "answer_store": {
            "kind": store.kind,
            "answers": store.totals.answers,
            "bytes": store.totals.size,
            "problem": store.problem,
        },
        "child": child,
        "maintenance": maintenance.to_json(),
        "reload": here.reload_report(),
        "versions": {**here.options.versions, "codex": status.codex_version or None},
    }
