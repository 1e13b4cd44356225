"""Account limits in codex's words: its reports of the account's windows, and the reset time of a spent quota. Pure.

codex reads them off every answer of the ChatGPT backend and sends `account/rateLimits/updated`. Only the account's main
limit is used; a model's own (another `limitId`) is not.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.backend.account import WINDOWS, AccountLimits, AccountWindow
from app.backend.events import Reset, TurnEnded

UPDATED = "account/rateLimits/updated"

_MAIN = (None, "codex")
_LAST_TIME = 253_402_300_799  # the last second that a calendar has
_USAGE_LIMIT = "usageLimitExceeded"


def parse_windows(params: object) -> dict[str, AccountWindow]:
    """Return the windows in a notification's parameters, or in a result of `account/rateLimits/read`.

    What is not known is left out: the account's limits are worth no failure.
    """
    limits = params.get("rateLimits") if isinstance(params, dict) else None
    if not isinstance(limits, dict) or limits.get("limitId") not in _MAIN:
        return {}
    windows = {name: parse_window(limits.get(name)) for name in WINDOWS}
    return {name: window for name, window in windows.items() if window is not None}


def with_reset(ended: TurnEnded, account: AccountLimits, now: float) -> TurnEnded:
    """Return the event; one that says the limit is reached also says when it starts again, if that is known."""
    failure = ended.failure
    if failure is None or failure.kind != _USAGE_LIMIT:
        return ended
    at = account.full_until(now) or _time_in(failure.message, now)
    if at is None:
        return ended
    reset = Reset(at, max(1, at - int(now)))
    return replace(ended, failure=replace(failure, reset=reset))


def parse_window(raw: object) -> AccountWindow | None:
    """Return one window; None where codex does not say how full it is."""
    if not isinstance(raw, dict):
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


def _time_in(sentence: str, now: float) -> int | None:
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
