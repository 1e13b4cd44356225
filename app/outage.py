"""Outage of something outside: who may try it again, and when. Pure but for its clock.

One attempt after 1, 2, 4 … 32 seconds: what does not answer must not hold up everybody who asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_MAX_PAUSE_S = 32


class Outage:
    """Present outage, if there is one. `clock` is monotonic, in seconds. Nothing here blocks or yields."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause_s = 0
        self._next_attempt = 0.0

    @property
    def is_on(self) -> bool:
        """True since the last attempt has failed."""
        return self._pause_s > 0

    def may_try(self) -> bool:
        """Return True where there is no outage, and in one for one attempt after each pause."""
        if not self._pause_s:
            return True
        now = self._clock()
        if now < self._next_attempt:
            return False
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
        self._next_attempt = now + self._pause_s
        return True

    def note_failure(self) -> bool:
        """Begin an outage; return False where it is known."""
        if self._pause_s:
            return False
        self._pause_s = 1
        self._next_attempt = self._clock() + self._pause_s
        return True

    def note_success(self) -> bool:
        """End the outage; return False where there was none."""
        was_on, self._pause_s = self.is_on, 0
        return was_on
