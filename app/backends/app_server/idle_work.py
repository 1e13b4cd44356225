"""Work of a child: processor time that no turn accounts for, and silence that its work accounts for. Pure.

codex reads a stream in a task of its own. A stream that comes faster than it can be parsed (a line without an end)
leaves that task no moment in which to notice that its turn was given up: it reads on for minutes, and holds a
connection and a processor. Only the end of the process stops it.
"""

from __future__ import annotations

from dataclasses import dataclass

_CHECKS = 3
_SHARE = 0.25  # of one processor; an idle child uses none


@dataclass(frozen=True, slots=True)
class Work:
    """Work of a child so far: processor time in seconds, if it is known, and its turns, those begun and those now.

    `waited_s` is how long its threads have waited for a processor; `is_heavy` is True while it has a heavy call to do.
    """

    cpu_s: float | None = None
    begun: int = 0
    running: int = 0
    waited_s: float = 0.0
    is_heavy: bool = False

    def is_silent_for_a_reason(self, before: Work, elapsed_s: float) -> bool:
        """Return True if it may have said nothing since `before` because it works, or because others do."""
        worked_s = (self.cpu_s or 0.0) - (before.cpu_s or 0.0)
        is_at_it = (self.is_heavy or before.is_heavy) and worked_s > _SHARE * elapsed_s
        return is_at_it or self.waited_s - before.waited_s > _SHARE * elapsed_s


class IdleWork:
    """Judge of a child's work from one check to the next."""

    def __init__(self) -> None:
        self._last: tuple[Work, float] | None = None
        self._in_a_row = 0

    def is_runaway(self, work: Work, now: float) -> bool:
        """Return True if the child has worked in three checks in a row and had no turn; `now` is in seconds."""
        last, self._last = self._last, (work, now)
        if last is not None and _worked_without_turns(last[0], work, now - last[1]):
            self._in_a_row += 1
        else:
            self._in_a_row = 0
        return self._in_a_row >= _CHECKS


def _worked_without_turns(before: Work, after: Work, elapsed_s: float) -> bool:
    if before.cpu_s is None or after.cpu_s is None or before.running or after.running:
        return False
    return after.begun == before.begun and after.cpu_s - before.cpu_s > _SHARE * elapsed_s
