"""Budget of open streams: a bound on what slow readers can hold, beside the one on turns.

A turn's slot is free once codex is done with it, a stream's place only when its client has read it. Each key has a
share.
"""

from __future__ import annotations

import time

from app.backend.retry_after import ReleaseRate
from app.budget import SharedBudget, Shares
from app.errors import WorkerBusy


class OpenStreams(SharedBudget):
    """At most `limit` streams at once; where `is_split`, not all of one key.

    One more is refused with `WorkerBusy`, which estimates when a place is free.
    """

    def __init__(self, limit: int, *, is_split: bool = False) -> None:
        super().__init__(Shares(limit, is_split=is_split), self._busy)
        self._freed = ReleaseRate()

    def take(self, owner: str, amount: int) -> None:
        """See `SharedBudget`."""
        super().take(owner, amount)
        if self.shares.used < self.shares.limit:
            self._freed.reset()

    def give_back(self, owner: str, amount: int) -> None:
        """See `SharedBudget`."""
        super().give_back(owner, amount)
        if self._freed.is_wanted:
            self._freed.record(time.monotonic())

    def _busy(self, is_share: bool) -> WorkerBusy:  # noqa: FBT001  (called by the budget)
        now = time.monotonic()
        self._freed.start(now)
        sentence = f"This gateway has {self.shares.limit} streams open, as many as it may have"
        if is_share:
            sentence = (
                "Your key has as many streams open at this gateway as it may have beside others"
            )
        return WorkerBusy(
            f"{sentence}; try again shortly.",
            retry_after_s=self._freed.wait_s(1, now),
        )
