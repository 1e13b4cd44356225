"""Rate limiter for repetitive log lines, such as a peer can cause without end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Window:
    began: float
    allowed: int = 0
    withheld: int = 0


class LogRateLimiter:
    """At most `most` lines of a kind in `window_s` seconds; the first one after that tells how many were withheld."""

    def __init__(
        self, most: int = 10, window_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._window_s = window_s
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def allow(self, kind: str) -> int | None:
        """Return None to withhold a line, else how many lines of this kind were withheld since the last one.

        `kind` must come from a bounded set: it is remembered.
        """
        now = self._clock()
        window = self._windows.setdefault(kind, _Window(now))
        if now - window.began >= self._window_s:
            window.began, window.allowed = now, 0
        if window.allowed >= self._most:
            window.withheld += 1
            return None
        window.allowed += 1
        withheld, window.withheld = window.withheld, 0
        return withheld
