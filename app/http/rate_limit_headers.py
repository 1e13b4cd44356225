"""Rate limit headers and refusals in OpenAI's form, from the state of a key's windows. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from app.backend.account import AccountWindow
from app.errors import KeyLimited
from app.settings.values import Window


@dataclass(frozen=True, slots=True)
class WindowState:
    """One window of one key at one moment: how many requests count in it.

    `resets_s`: seconds until the oldest of them leaves it and one more fits; 0 where none counts.
    """

    window: Window
    used: int
    resets_s: float

    @property
    def remaining(self) -> int:
        """How many requests fit in now."""
        return max(0, self.window.limit - self.used)

    @property
    def retry_after_s(self) -> float:
        """Seconds until the next request fits, 0 where one fits now."""
        return 0.0 if self.remaining else max(0.0, self.resets_s)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request fits in all windows of its key, and what they hold after it."""

    is_allowed: bool
    windows: tuple[WindowState, ...]

    @property
    def binding_window(self) -> WindowState:
        """The window that refuses the longest; where none refuses, the one that is the nearest to it."""
        if not self.is_allowed:
            return max(self.windows, key=lambda state: state.retry_after_s)
        return min(self.windows, key=lambda state: state.remaining)


def rate_headers(decision: Decision) -> dict[str, str]:
    """Return OpenAI's headers for the window that matters; `reset` is when its oldest request leaves it."""
    state = decision.binding_window
    return {
        "x-ratelimit-limit-requests": str(state.window.limit),
        "x-ratelimit-remaining-requests": str(state.remaining),
        "x-ratelimit-reset-requests": format_duration(state.resets_s),
    }


def account_headers(windows: Mapping[str, AccountWindow]) -> dict[str, str]:
    """Return what the account's windows hold, under the names that the ChatGPT backend has for it."""
    headers = {}
    for name, window in windows.items():
        headers[f"x-codex-{name}-used-percent"] = str(window.used_percent)
        if window.window_minutes is not None:
            headers[f"x-codex-{name}-window-minutes"] = str(window.window_minutes)
        if window.resets_at is not None:
            headers[f"x-codex-{name}-reset-at"] = str(window.resets_at)
    return headers


def refusal(decision: Decision, key_name: str) -> KeyLimited:
    """Return the error for a request that did not fit. It names the key, which is its caller's own, by its name."""
    state = decision.binding_window
    window, wait_s = state.window, state.retry_after_s
    return KeyLimited(
        f"Rate limit reached for your key '{key_name}' at this gateway, on requests per {_unit(window.seconds)}: "
        f"Limit {window.limit}, Used {state.used}, Requested 1. Please try again in {format_duration(wait_s)}. "
        "(It is this gateway's own limit, not the account's.)",
        retry_after_s=max(1, math.ceil(wait_s)),
    )


_HOUR_S, _MINUTE_S = 3600, 60


def format_duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: `20ms`, `1s`, `8.64s`, `6m0s`, `1h0m30s`; rounded up to a millisecond."""
    in_ms = max(0, math.ceil(round(seconds * 1000, 3)))
    if 0 < in_ms < 1000:  # noqa: PLR2004 - a second
        return f"{in_ms}ms"
    whole, ms = divmod(in_ms, 1000)
    minutes, rest = divmod(whole, _MINUTE_S)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{ms:03}".rstrip("0") if ms else ""
    text = f"{rest}{fraction}s"
    if whole >= _MINUTE_S:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if whole >= _HOUR_S else text


_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def _unit(seconds: int) -> str:
    """Return the length of a window in words: `minute`, `5 minutes`."""
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    count = seconds // size
    return unit if count == 1 else f"{count} {unit}s"
