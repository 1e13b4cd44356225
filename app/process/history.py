"""History of a supervised child: what happened to it last, with the time, for operators. Bounded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from app.process.lifecycle import LastExit, Moment

MOST_MOMENTS = 32


class History:
    """The last moments of a child and of those after it. `clock` is Unix time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._moments: deque[Moment] = deque(maxlen=MOST_MOMENTS)

    def note(
        self,
        what: str,
        pid: int | None = None,
        *,
        reason: str | None = None,
        exit_code: int | None = None,
        detail: str | None = None,
    ) -> None:
        """Add what happens now; the oldest moment gives way. Does not block."""
        self._moments.append(Moment(self._clock(), what, pid, reason, exit_code, detail or None))

    def note_exit(self, ended: LastExit) -> None:
        """Add the end of a process, or of a start that failed."""
        self.note("exited", reason=ended.reason, exit_code=ended.exit_code, detail=ended.detail)

    @property
    def moments(self) -> tuple[Moment, ...]:
        """Return what is known, the newest first."""
        return tuple(reversed(self._moments))
