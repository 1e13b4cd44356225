"""Request body of `POST /internal/maintenance`. Pure: `now` is an argument."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import MAXYEAR, datetime, timedelta
from typing import Any

from marshmallow import EXCLUDE, Schema

from app.answers.field_errors import missing
from app.errors import InvalidRequest
from app.http.fields import Ranged, Typed
from app.http.maintenance_flag import MAX_RETRY_AFTER_S, Maintenance

MAX_REASON_BYTES = 256
"""As much as the memory that the workers share has room for."""

_BREAKS = frozenset({"Cc", "Zl", "Zp"})
"""Unicode's control characters and ends of lines: a reason is one line, in terminals and status pages, too."""


class MaintenanceSchema(Schema):
    """The fields' types; unknown fields are dropped."""

    class Meta:
        """Unknown fields are dropped."""

        unknown = EXCLUDE

    enabled = Typed(bool, "a boolean")
    reason = Typed(str, "a string")
    until = Typed(str, "a string")
    retry_after_s = Ranged(1, MAX_RETRY_AFTER_S, whole=True)


SCHEMA = MaintenanceSchema()


def parse_maintenance(body: Mapping[str, Any], now: float) -> Maintenance:
    """Return what the body asks for; null means absent. Raises `InvalidRequest`, which names the field."""
    given = {name: value for name, value in body.items() if value is not None}
    if "enabled" not in given:
        raise missing("enabled")
    known: dict[str, Any] = SCHEMA.load(given)
    return Maintenance(
        known["enabled"],
        _reason(known.get("reason", "")),
        _until(known["until"], now) if "until" in known else None,
        known.get("retry_after_s"),
    )


def _reason(text: str) -> str:
    if any(unicodedata.category(character) in _BREAKS for character in text):
        raise _invalid("reason", "expected one line without control characters.")
    size = len(text.encode())
    if size > MAX_REASON_BYTES:
        raise _invalid(
            "reason", f"expected at most {MAX_REASON_BYTES} bytes of UTF-8, but got {size} instead."
        )
    return text.strip()


def _until(text: str, now: float) -> float:
    """Return Unix time in seconds."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() != timedelta(0) or moment.year == MAXYEAR:
        raise _invalid("until", "expected a time in UTC, like '2026-12-01T10:00:00Z'.")
    if moment.timestamp() <= now:
        raise _invalid("until", "expected a time in the future.")
    return moment.timestamp()


def _invalid(field: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid '{field}': {what}", param=field)
