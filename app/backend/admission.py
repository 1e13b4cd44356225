"""Admission: how many turns run at once, and the queue behind them. Decided before a response is begun.

`app.backend.fair_queue` decides who is next; this is the waiting itself. A request for several choices takes all its
slots or none. A slot is given back exactly once, whoever ends its turn. No lock: nothing here yields between reading
and changing.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from gevent.event import Event

from app.backend.fair_queue import FairQueue, Ticket, TicketState
from app.backend.retry_after import ReleaseRate
from app.errors import WorkerBusy

_TOO_LATE = "This gateway is busy and no turn became free in time."
_SHARE = "This gateway is busy: your key has as many turns as it may have, and none of them ended in time."
_FULL = "This gateway is busy and its queue is full; try again shortly."
_EVICTED = (
    "This gateway is busy and its queue is full. Your key has the most requests in it, so that the newest of them gave "
    "way to another key's."
)


class Slot:
    """The right to run one turn. `owner` is the name of the key that it was given to."""

    def __init__(self, on_release: Callable[[], None], owner: str = "") -> None:
        self.owner = owner
        self._on_release: Callable[[], None] | None = on_release

    def release(self) -> None:
        """Give the slot back; a second call does nothing."""
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            on_release()


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """Terms of a request for slots: `owner` is the name of the caller's key, `within_s` the longest wait (seconds).

    One that is patient has no client who waits, and is not told after a while that there is no room.
    """

    owner: str = ""
    within_s: float = math.inf
    is_patient: bool = False

    def deadline(self, most_s: float) -> float:
        """Return when its wait is over (monotonic seconds), after `most_s` at the latest."""
        return time.monotonic() + min(most_s, self.within_s)


ANONYMOUS = SlotRequest()


@dataclass(slots=True, eq=False)
class _Waiter(Ticket):
    over: Event = field(default_factory=Event)


class Admission:
    """`limit` slots and a queue of at most `queue_max` requests behind them. Where `is_split`, no key has all slots."""

    def __init__(self, limit: int, queue_max: int, *, is_split: bool = False) -> None:
        self._queue: FairQueue[_Waiter] = FairQueue(limit, queue_max, is_split=is_split)
        self._rate = ReleaseRate()
        self.counters: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return self._queue.running

    def by_owner(self) -> dict[str, int]:
        """Return how many slots each owner has; one that has none is not there."""
        return self._queue.by_owner()

    @property
    def limit(self) -> int:
        """How many slots there are."""
        return self._queue.limit

    @property
    def most_waiting(self) -> int:
        """How many requests may wait for slots."""
        return self._queue.most_waiting

    @property
    def waiting(self) -> int:
        """How many requests wait for slots."""
        return self._queue.waiting

    def acquire(
        self, timeout_s: float, count: int = 1, slot_request: SlotRequest = ANONYMOUS
    ) -> list[Slot]:
        """Block until `count` slots are free, and the owner is the next to have them.

        Raises `WorkerBusy` if the queue is full or does not move in time.
        """
        owner = slot_request.owner
        if not self._queue.try_acquire(owner, count):
            self._wait(_Waiter(owner, count), min(timeout_s, slot_request.within_s))
        return [Slot(partial(self._release, owner), owner) for _ in range(count)]

    def _wait(self, waiter: _Waiter, timeout_s: float) -> None:
        self._rate.start(time.monotonic())
        self._wake(self._queue.enqueue(waiter))
        is_refused = waiter.state is TicketState.EVICTED
        try:
            waiter.over.wait(max(0.0, timeout_s))
        except BaseException:
            # Cut short from outside, maybe after the slots were given and before it woke: they go to the next.
            self._wake(self._queue.cancel(waiter))
            raise
        if waiter.state is TicketState.ADMITTED:
            return
        if waiter.state is TicketState.WAITING:
            self._wake(self._queue.cancel(waiter))
            is_within = self._queue.may_have(waiter.owner, waiter.count)
            raise self._busy(_TOO_LATE if is_within else _SHARE, waiter)
        raise self._busy(_FULL if is_refused else _EVICTED, waiter)

    def _busy(self, sentence: str, waiter: _Waiter) -> WorkerBusy:
        ahead = self._queue.slots_ahead(waiter.owner, waiter.count)
        return WorkerBusy(sentence, retry_after_s=self._rate.wait_s(ahead, time.monotonic()))

    def _release(self, owner: str) -> None:
        self._wake(self._queue.release(owner))
        if self._rate.is_wanted:
            self._rate.record(time.monotonic())
            if not self._queue.waiting and self._queue.running < self._queue.limit:
                self._rate.reset()

    def _wake(self, waiters: Iterable[_Waiter]) -> None:
        for waiter in waiters:
            waiter.over.set()

    def __repr__(self) -> str:
        return f"<Admission running={self.running}/{self._queue.limit} waiting={self.waiting}>"
