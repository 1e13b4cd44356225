"""Account limits: how full the windows of the account behind a backend are, as the upstream last reported it. Pure.

An update is sparse: what it leaves out has not changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

WINDOWS = ("primary", "secondary")
"""The windows' names. For ChatGPT plans the first is the short one (hours), the second the long one (a week)."""

_FULL = 100


@dataclass(frozen=True, slots=True)
class AccountWindow:
    """One window: `resets_at` is Unix time in seconds; None where the upstream did not say."""

    used_percent: int
    window_minutes: int | None = None
    resets_at: int | None = None

    def at(self, now: float) -> AccountWindow:
        """Return the window as it is at `now`: one whose time is up has started again, and is empty as far as known."""
        if self.resets_at is None or now < self.resets_at:
            return self
        return replace(self, used_percent=0, resets_at=None)


class AccountLimits:
    """The windows that were reported last. Outlives the process that reported them."""

    def __init__(self) -> None:
        self._windows: dict[str, AccountWindow] = {}

    def update(self, windows: Mapping[str, AccountWindow]) -> None:
        """Take the windows of one report, by name."""
        self._windows.update(windows)

    def windows(self, now: float) -> dict[str, AccountWindow]:
        """Return the windows by name, as they are at `now`; none before anything was reported."""
        return {name: window.at(now) for name, window in self._windows.items()}

    def report(self, now: float) -> dict[str, dict[str, int | None]]:
        """Return the same for JSON."""
        return {name: asdict(window) for name, window in self.windows(now).items()}

    def full_until(self, now: float) -> int | None:
        """Return when every full window has started again (Unix seconds), None if none is full or that is unknown."""
        return max(self._resets_of_full(now), default=None)

    def _resets_of_full(self, now: float) -> Iterator[int]:
        for window in self.windows(now).values():
            if window.used_percent >= _FULL and window.resets_at is not None:
                yield window.resets_at

    def __repr__(self) -> str:
        used = ", ".join(f"{name} {w.used_percent} %" for name, w in self._windows.items())
        return f"<AccountLimits {used or 'nothing reported'}>"
