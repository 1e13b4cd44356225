"""Usage recorder of one worker: what requests cost, by day, key and model, written to the store in batches.

A request counts once its model is known: what is refused before asks no model anything, and a name that no model has
makes no row. Its row has the model that was asked, also where the upstream lets another one answer.

Counts wait in memory for two seconds and are written together, beside the loop. A crash loses these; the end of a
worker writes them. A batch that could not be written is tried again as it was, with its number, so that the store adds
it once even where it was written and nobody heard of it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping

import gevent
from gevent.event import Event
from gevent.lock import RLock

from app.answer_store.stored_answer import AnswerStore
from app.answer_store.usage_counts import (
    Counts,
    RowName,
    Tally,
    UsageBatch,
    UsageQuery,
    day_of,
    first_day,
)
from app.errors import StoreFailed
from app.observability.requests import RequestRecord

log = logging.getLogger("codex_api.usage")

_GATHER_S = 2.0
"""How long counts wait for others. One transaction serves them all."""

_STOP_S = 2.0


class UsageRecorder:
    """A `Listener` of every request and background answer. `kept_days` is how many days there are, today's included.

    `on_displaced` is called with the number of requests that found no row of their own. `clock` is Unix time.
    """

    def __init__(
        self,
        store: AnswerStore,
        kept_days: int,
        on_displaced: Callable[[int], object] = lambda _count: None,
        clock: Callable[[], float] = time.time,
        gather_s: float = _GATHER_S,
    ) -> None:
        self._store = store
        self._kept_days = kept_days
        self._on_displaced = on_displaced
        self._clock = clock
        self._gather_s = gather_s
        self._writer = secrets.token_hex(8)
        self._number = 0
        self._tally = Tally()
        self._unsure: UsageBatch | None = None  # not written, or not known to be
        self._lock = RLock()
        self._wake = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    @property
    def is_kept(self) -> bool:
        """True if what is counted outlives the worker."""
        return self._store.is_on

    # As a listener

    def stream_began(self, record: RequestRecord) -> None:
        """Do nothing: a request is counted at its end."""

    def request_ended(self, record: RequestRecord) -> None:
        """Count one that asked a model. Does not block."""
        model = record.requested_model or record.model
        if model is None or record.is_handed_over:
            return
        name = RowName(day_of(self._clock()), record.key_name or "", model)
        self._tally.add(name, counts_of(record))
        self._wake.set()

    # As a service

    def start(self) -> None:
        """Begin to write what is counted, in a greenlet. Does not block."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Write what waits. Blocks for two seconds at most; what cannot be written by then is lost, and logged."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        with gevent.Timeout(_STOP_S, False):  # type: ignore[arg-type]  # False: it ends the block without an error
            self._try_to_write(is_last=True)
        if lost := self._waiting():
            log.error("usage_lost", extra={"requests": lost})

    def read(
        self, days: int, key: str | None = None, model: str | None = None
    ) -> Mapping[RowName, Counts]:
        """Return the rows of the last days, the newest first: one more than `MOST_ROWS_READ` at most.

        What this worker has counted is in them. Blocks; raises `StoreFailed`.
        """
        self._write()
        now = self._clock()
        first = first_day(now, min(days, self._kept_days))
        return self._store.usage(UsageQuery(first, day_of(now), key, model))

    def _run(self) -> None:
        while True:
            self._wake.wait()
            gevent.sleep(self._gather_s)
            self._wake.clear()
            if not self._try_to_write():
                self._wake.set()

    def _try_to_write(self, *, is_last: bool = False) -> bool:
        try:
            self._write(is_last=is_last)
        except StoreFailed:  # logged and counted by the store
            return False
        # A defect of ours: it may cost the counts that it met, and not those of all later requests.
        except Exception:
            lost = _requests_of(self._unsure.rows) if self._unsure is not None else 0
            self._unsure = None
            log.exception("usage_lost", extra={"requests": lost})
        return True

    def _write(self, *, is_last: bool = False) -> None:
        """Write what waits by now. Blocks; raises `StoreFailed`."""
        with self._lock:
            if self._unsure is not None:
                self._add(self._unsure, is_last=is_last)
            if self._tally.rows:
                self._unsure = self._next_batch()
                self._add(self._unsure, is_last=is_last)

    def _add(self, batch: UsageBatch, *, is_last: bool) -> None:
        displaced = self._store.add_usage(batch, is_last=is_last)
        self._unsure = None
        if displaced:
            self._on_displaced(displaced)

    def _next_batch(self) -> UsageBatch:
        tally, self._tally = self._tally, Tally()
        self._number += 1
        if tally.displaced:
            self._on_displaced(tally.displaced)
        oldest = first_day(self._clock(), self._kept_days)
        return UsageBatch(self._writer, self._number, tally.rows, oldest, self._kept_days)

    def _waiting(self) -> int:
        unsure = _requests_of(self._unsure.rows) if self._unsure is not None else 0
        return _requests_of(self._tally.rows) + unsure

    def __repr__(self) -> str:
        return f"<UsageRecorder {self._waiting()} requests wait>"


def _requests_of(rows: Mapping[RowName, Counts]) -> int:
    return sum(counts.requests for counts in rows.values())


def counts_of(record: RequestRecord) -> Counts:
    """Return what one request adds: as much of its tokens as is known, also where it failed or its client left."""
    return Counts(
        requests=1,
        errors=int(record.error_code is not None),
        input_tokens=record.prompt_tokens or 0,
        cached_tokens=record.cached_tokens or 0,
        output_tokens=record.completion_tokens or 0,
        reasoning_tokens=record.reasoning_tokens or 0,
    )
