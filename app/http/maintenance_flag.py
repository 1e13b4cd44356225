"""The maintenance flag as an operator sets it, and what a client is told. Pure: `now` is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol

from app.errors import InMaintenance

MAX_RETRY_AFTER_S = 86_400
"""The longest wait that clients are told, in seconds: one day."""


class Source(Enum):
    """What the flag is as it is for: the setting, the endpoint, or the end that the endpoint was given."""

    SETTING = "setting"
    ENDPOINT = "endpoint"
    UNTIL = "until"


@dataclass(frozen=True, slots=True)
class MaintenanceSpec:
    """What an operator wants. `until` is Unix time in seconds; `reason` is shown to everybody."""

    is_on: bool
    reason: str = ""
    until: float | None = None
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The flag at a moment. `since` is Unix time in seconds; `configured` is the value of PROXY_MAINTENANCE_MODE."""

    order: MaintenanceSpec
    set_by: Source
    since: float
    configured: bool

    @property
    def is_on(self) -> bool:
        """True while the gate is closed."""
        return self.order.is_on

    def to_json(self) -> dict[str, Any]:
        """Return the whole state, for operators."""
        order = self.order
        return {
            "enabled": order.is_on,
            "reason": order.reason or None,
            "until": None if order.until is None else utc(order.until),
            "retry_after_s": order.retry_after_s,
            "set_by": self.set_by.value,
            "since": utc(self.since),
            "configured": self.configured,
        }


class MaintenanceFlag(Protocol):
    """The flag, wherever it is kept. Nothing here blocks."""

    def state(self) -> State:
        """Return what holds now."""

    def obey(self, order: MaintenanceSpec) -> State:
        """Set the flag; return what holds from now on."""

    def forget(self) -> State:
        """Go back to the setting; return what holds from now on."""


def refusal(order: MaintenanceSpec, now: float) -> InMaintenance:
    """Return what a client gets: the operator's own words, and when to come back."""
    end = "" if order.until is None else f" until {utc(order.until)}"
    words = f": {order.reason}" if order.reason else "; send the request again later."
    return InMaintenance(
        f"This gateway is in maintenance{end}{words}", retry_after_s=wait_s(order, now)
    )


def wait_s(order: MaintenanceSpec, now: float) -> int | None:
    """Return the seconds that a client is asked to wait, as ordered or until the end; None if neither is known."""
    if order.retry_after_s is not None or order.until is None:
        return order.retry_after_s
    return min(max(1, math.ceil(order.until - now)), MAX_RETRY_AFTER_S)


def utc(seconds: float) -> str:
    """Return Unix time as ISO-8601 in UTC, with milliseconds where there are any."""
    precision = "seconds" if seconds == int(seconds) else "milliseconds"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision).replace("+00:00", "Z")
