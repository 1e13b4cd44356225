"""The limits of the account behind the child: how full its windows are, as codex last heard from the upstream.

codex reads them off every answer of the ChatGPT backend and sends `account/rateLimits/updated`. An update is sparse:
what it leaves out has not changed. Only the account's main limit is kept; a model's own (another `limitId`) is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from app.backend.events import Reset, TurnEnded
from app.backends.app_server.parse_events import Addressed

UPDATED = "account/rateLimits/updated"

WINDOWS = ("primary", "secondary")
"""codex's names. For ChatGPT plans the first is the short one (hours), the second the long one (a week)."""

_MAIN = (None, "codex")
_FULL = 100
_LAST_TIME = 253_402_300_799  # the last second that a calendar has
_USAGE_LIMIT = "usageLimitExceeded"


@dataclass(frozen=True, slots=True)
class AccountWindow:
    """One window: `resets_at` is Unix time in seconds; None where the upstream did not say."""

    used_percent: int
    window_minutes: int | None = None
    resets_at: int | None = None

    def at(self, now: float) -> AccountWindow:
        """Return the window as it is by now: one whose time is up has started again, and is empty as far as known."""
        if self.resets_at is None or now < self.resets_at:
            return self
        return replace(self, used_percent=0, resets_at=None)


class AccountLimits:
    """What was heard last. Outlives the child that heard it."""

    def __init__(self) -> None:
        self._windows: dict[str, AccountWindow] = {}

    def hear(self, params: object) -> None:
        """Take the parameters of a notification, or a result of `account/rateLimits/read`; ignore what is not known."""
        limits = params.get("rateLimits") if isinstance(params, Mapping) else None
        if not isinstance(limits, Mapping) or limits.get("limitId") not in _MAIN:
            return
        for name in WINDOWS:
            window = _parse_window(limits.get(name))
            if window is not None:
                self._windows[name] = window

    def windows(self, now: float) -> dict[str, AccountWindow]:
        """Return the windows by name, as they are at `now`; none before anything was heard."""
        return {name: window.at(now) for name, window in self._windows.items()}

    def report(self, now: float) -> dict[str, dict[str, int | None]]:
        """Return the same for JSON."""
        return {name: asdict(window) for name, window in self.windows(now).items()}

    def explain(self, addressed: Addressed, now: float) -> Addressed:
        """Return the event; one that says the limit is reached now also says when it starts again, if that is known."""
        event = addressed.event
        if not isinstance(event, TurnEnded) or event.failure is None:
            return addressed
        failure = event.failure
        if failure.kind != _USAGE_LIMIT:
            return addressed
        at = max(self._full_until(now), default=0) or _said(failure.message, now)
        if at is None:
            return addressed
        reset = Reset(at, max(1, at - int(now)))
        return replace(addressed, event=replace(event, failure=replace(failure, reset=reset)))

    def _full_until(self, now: float) -> Iterator[int]:
        for window in self.windows(now).values():
            if window.used_percent >= _FULL and window.resets_at is not None:
                yield window.resets_at

    def __repr__(self) -> str:
        used = ", ".join(f"{name} {w.used_percent} %" for name, w in self._windows.items())
        return f"<AccountLimits {used or 'nothing heard'}>"


def _parse_window(raw: object) -> AccountWindow | None:
    if not isinstance(raw, Mapping):
        return None
    used = _whole(raw.get("usedPercent"))
    if used is None:
        return None
    resets = _whole(raw.get("resetsAt"))
    is_time = resets is not None and 0 < resets <= _LAST_TIME
    return AccountWindow(used, _whole(raw.get("windowDurationMins")), resets if is_time else None)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_TRY_AGAIN = re.compile(
    r"try again at (?:([A-Z][a-z]{2}) ([0-9]{1,2})[a-z]{2}, ([0-9]{4}) )?([0-9]{1,2}:[0-9]{2} [AP]M)"
)


def _said(sentence: str, now: float) -> int | None:
    """Return the time in codex's sentence: local, exact to a minute, and without a date where it means today."""
    found = _TRY_AGAIN.search(sentence)
    if found is None:
        return None
    month, day, year, clock = found.groups()
    today = datetime.fromtimestamp(now)  # noqa: DTZ006 - local time: the child has our time zone
    date = f"{month} {day} {year}" if month else f"{today:%b %d %Y}"
    try:
        at = datetime.strptime(f"{date} {clock}", "%b %d %Y %I:%M %p")  # noqa: DTZ007 - the same
        until = int(at.timestamp()) + 60  # the seconds were cut off
    except (ValueError, OverflowError):
        return None
    return until if until > now else None
