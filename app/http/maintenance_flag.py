"""Maintenance as operators set it, and the error that clients get meanwhile. Pure: `now` is Unix time in seconds."""

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
    """Cause of the present state: the setting, the endpoint, or the end that the endpoint was given."""

    SETTING = "setting"
    ENDPOINT = "endpoint"
    UNTIL = "until"


@dataclass(frozen=True, slots=True)
class Maintenance:
    """The flag: as an operator orders it, as the workers share it, and as it holds at a moment (`at`).

    `until` and `since` are Unix time in seconds; `reason` is shown to everybody. `configured` is the value of
    PROXY_MAINTENANCE_MODE that was current when the flag was set: only a change of it overrides the endpoint.
    """

    is_on: bool
    reason: str = ""
    until: float | None = None
    retry_after_s: int | None = None
    set_by: Source = Source.SETTING
    since: float = 0.0
    configured: bool = False

    def is_over(self, now: float) -> bool:
        """True from the moment on that `until` names."""
        return self.is_on and self.until is not None and self.until <= now

    def at(self, now: float) -> Maintenance:
        """Return what holds at that time: this, or off once it is over."""
        if self.until is None or not self.is_over(now):
            return self
        return Maintenance(False, set_by=Source.UNTIL, since=self.until, configured=self.configured)

    def refusal(self, now: float) -> InMaintenance:
        """Return what a client gets: the operator's own words, and when to come back."""
        end = "" if self.until is None else f" until {utc(self.until)}"
        words = f": {self.reason}" if self.reason else "; send the request again later."
        return InMaintenance(
            f"This gateway is in maintenance{end}{words}", retry_after_s=self._wait_s(now)
        )

    def _wait_s(self, now: float) -> int | None:
        """Return the seconds that were ordered, or until the end; None if neither is known."""
        if self.retry_after_s is not None or self.until is None:
            return self.retry_after_s
        return min(max(1, math.ceil(self.until - now)), MAX_RETRY_AFTER_S)

    def to_json(self) -> dict[str, Any]:
        """Return everything, for operators."""
        return {
            "enabled": self.is_on,
            "reason": self.reason or None,
            "until": None if self.until is None else utc(self.until),
            "retry_after_s": self.retry_after_s,
            "set_by": self.set_by.value,
            "since": utc(self.since),
            "configured": self.configured,
        }


class MaintenanceFlag(Protocol):
    """The flag, wherever it is kept. Each method returns what holds from then on; none blocks."""

    def state(self) -> Maintenance:
        """Return what holds now."""

    def set(self, order: Maintenance) -> Maintenance:
        """Set the flag. Of the order, `set_by`, `since` and `configured` do not count."""

    def reset(self) -> Maintenance:
        """Go back to the setting."""


def utc(seconds: float) -> str:
    """Return Unix time as ISO-8601 in UTC, with milliseconds where there are any."""
    precision = "seconds" if seconds == int(seconds) else "milliseconds"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision).replace("+00:00", "Z")
