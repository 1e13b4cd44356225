"""Budget of open streams: a bound on what slow readers can hold, beside the one on turns.

A turn's slot is free once codex is done with it, a stream's place only when its client has read it.
"""

from __future__ import annotations

import time

from app.backend.retry_after import ReleaseRate
from app.budget import Budget
from app.errors import WorkerBusy


class OpenStreams(Budget):
    """At most `limit` streams at once. One more is refused with `WorkerBusy`, which estimates when a place is free."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, self._busy)
        self._freed = ReleaseRate()

    def take(self, amount: int) -> None:
        """See `Budget`."""
        super().take(amount)
        if self.used < self.limit:
            self._freed.reset()

    def give_back(self, amount: int) -> None:
        """See `Budget`."""
        super().give_back(amount)
        if self._freed.is_wanted:
            self._freed.record(time.monotonic())

    def _busy(self) -> WorkerBusy:
        now = time.monotonic()
        self._freed.start(now)
        return WorkerBusy(
            f"This gateway has {self.limit} streams open, as many as it may have; try again shortly.",
            retry_after_s=self._freed.wait_s(1, now),
        )
