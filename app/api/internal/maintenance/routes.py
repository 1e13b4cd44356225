"""Views of `/internal/maintenance`. Each answers with the whole state."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint

from app.api.described_body import plain_body
from app.api.internal.maintenance.request import SCHEMA, parse_maintenance
from app.http.body import read_json_object
from app.http.json_schema import BOOLEAN, INTEGER, STRING, or_null, record, words
from app.http.operation import Operation, answer, described
from app.http.services import services

blueprint = Blueprint("maintenance", __name__, url_prefix="/internal/maintenance")

STATE = record(
    {
        "enabled": BOOLEAN,
        "reason": or_null(STRING),
        "until": or_null(STRING),
        "retry_after_s": or_null(INTEGER),
        "set_by": words("setting", "endpoint", "until"),
        "since": STRING,
        "configured": BOOLEAN,
    }
)
_ANSWER = answer(STATE, "Maintenance")

_ORDER = plain_body(
    "MaintenanceOrder",
    SCHEMA,
    {
        "enabled": "True closes `/v1`, false opens it, whatever the setting says.",
        "reason": "One line, which clients and everybody on `/healthz` are told.",
        "until": "A time in UTC, in the future, at which maintenance ends by itself.",
        "retry_after_s": "What clients are told in `Retry-After`.",
    },
    needs=("enabled",),
)


@blueprint.get("")
@described(Operation(answers=_ANSWER))
def show() -> dict[str, Any]:
    """Answer with what holds now."""
    return services().maintenance.state().to_json()


@blueprint.post("")
@described(Operation(body=_ORDER, answers=_ANSWER))
def change() -> dict[str, Any]:
    """Set the flag. Nothing of what was set before stays."""
    return services().maintenance.set(parse_maintenance(read_json_object(), time.time())).to_json()


@blueprint.delete("")
@described(Operation(answers=_ANSWER))
def reset() -> dict[str, Any]:
    """Go back to PROXY_MAINTENANCE_MODE."""
    return services().maintenance.reset().to_json()
