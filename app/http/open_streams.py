"""How many streams are open: a bound on what slow readers can hold, beside the one on turns.

A turn's slot is free once codex is done with it, a stream's place only when its client has read it.
"""

from __future__ import annotations

import time

from app.backend.retry_after import ReleaseRate
from app.errors import WorkerBusy
from app.http.request_lifetime import RequestLifetime
from app.observability.requests import RequestRecord


class OpenStreams:
    """At most `limit` at once. Nothing here yields, so no lock is needed."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self._freed = ReleaseRate()

    def check(self, record: RequestRecord) -> None:
        """Raise `WorkerBusy` if there is no place, and note in the record which bound was met."""
        if self.count < self.limit:
            return
        now = time.monotonic()
        self._freed.start(now)
        record.full_queue = "streams"
        raise WorkerBusy(
            f"This gateway has {self.limit} streams open, as many as it may have; try again shortly.",
            retry_after_s=self._freed.wait_s(1, now),
        )

    def take(self, record: RequestRecord, life: RequestLifetime) -> None:
        """Take a place until the end of the request's life. Raises `WorkerBusy` if there is none."""
        self.check(record)
        self.count += 1
        life.at_end(self._give_back)
        if self.count < self.limit:
            self._freed.reset()

    def _give_back(self) -> None:
        self.count -= 1
        if self._freed.is_wanted:
            self._freed.record(time.monotonic())
