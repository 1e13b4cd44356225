"""Pace of reading a pipe: whether more is to gather in it before the next look. Pure: the clock is an argument.

Each look costs more than the lines that it finds: the loop goes round, and whoever the lines are for is woken. So where
they follow each other closely, and are for many, they are left to gather for a moment. The first of them is never late,
nor is one alone, nor one of a few turns: there is time enough for each of those.
"""

from __future__ import annotations

import math

GATHER_S = 0.001
"""How long they are left to gather."""

MANY = 8
"""So many turns at once are many."""


class ReadPace:
    """Pace of one reader. `is_close`: what was read last was for many, and came close behind what was before it."""

    __slots__ = ("_read_at", "is_close")

    def __init__(self) -> None:
        self.is_close = False
        self._read_at = -math.inf

    def note(self, now: float, turns: int, *, is_all: bool) -> None:
        """Note what was read now (monotonic seconds), for so many turns; `is_all`: nothing is left for another look."""
        before, self._read_at = self._read_at, now
        self.is_close = is_all and turns >= MANY and now - before < 2 * GATHER_S
