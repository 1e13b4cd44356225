"""How many turns run at once, and who waits. Decided before a response is begun.

First come, first served: slots that become free are kept for the first waiter, so that nobody overtakes. A request for
several choices takes all its slots or none. A slot is given back exactly once, whoever ends its turn. No lock: nothing
here yields between reading and changing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gevent.event import Event

from app.errors import WorkerBusy


class Slot:
    """The right to run one turn."""

    def __init__(self, on_release: Callable[[], None]) -> None:
        self._on_release: Callable[[], None] | None = on_release

    def release(self) -> None:
        """Give the slot back; a second call does nothing."""
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            on_release()


@dataclass(slots=True, eq=False)
class _Waiter:
    count: int
    turn_comes: Event = field(default_factory=Event)


class Admission:
    """`limit` slots and a queue of at most `queue_max` requests behind them."""

    def __init__(self, limit: int, queue_max: int) -> None:
        self.limit = limit
        self._queue_max = queue_max
        self._queue: deque[_Waiter] = deque()
        self.running = 0
        self.counters: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return len(self._queue)

    def acquire(self, timeout_s: float, count: int = 1) -> list[Slot]:
        """Block until `count` slots are free. Raises `WorkerBusy` if the queue is full or does not move in time."""
        if not self._queue and self.running + count <= self.limit:
            self.running += count
            return self._slots(count)
        if len(self._queue) >= self._queue_max:
            raise WorkerBusy("This gateway is busy and its queue is full; try again shortly.")
        waiter = _Waiter(count)
        self._queue.append(waiter)
        try:
            waiter.turn_comes.wait(timeout_s)
        except BaseException:
            # Cut short from outside, maybe between the handing over and the waking up: then it goes to the next.
            if waiter.turn_comes.is_set():
                self._release(count)
            else:
                self._leave(waiter)
            raise
        if not waiter.turn_comes.is_set():
            self._leave(waiter)
            raise WorkerBusy("This gateway is busy and no turn became free in time.")
        return self._slots(count)

    def _slots(self, count: int) -> list[Slot]:
        return [Slot(self._release) for _ in range(count)]

    def _leave(self, waiter: _Waiter) -> None:
        self._queue.remove(waiter)
        self._hand_over()  # the next may need fewer slots

    def _release(self, count: int = 1) -> None:
        self.running -= count
        self._hand_over()

    def _hand_over(self) -> None:
        while self._queue and self.running + self._queue[0].count <= self.limit:
            waiter = self._queue.popleft()
            self.running += waiter.count
            waiter.turn_comes.set()

    def __repr__(self) -> str:
        return f"<Admission running={self.running}/{self.limit} waiting={self.waiting}>"
