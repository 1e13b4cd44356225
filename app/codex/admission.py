"""How many turns run at once, and who waits. Decided before a response is begun.

First come, first served: a slot that becomes free is handed to the first waiter, so that nobody overtakes. A slot is
given back exactly once, whoever ends its turn. No lock: nothing here yields between reading and changing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

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


class Admission:
    """`limit` slots and a queue of at most `queue_max` behind them."""

    def __init__(self, limit: int, queue_max: int) -> None:
        self._limit = limit
        self._queue_max = queue_max
        self._queue: deque[Event] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._queue)

    def acquire(self, timeout_s: float) -> Slot:
        """Block until a slot is free. Raises `WorkerBusy` if the queue is full or does not move in time."""
        if self.running < self._limit and not self._queue:
            self.running += 1
            return Slot(self._release)
        if len(self._queue) >= self._queue_max:
            raise WorkerBusy("This gateway is busy and its queue is full; try again shortly.")
        turn_comes = Event()
        self._queue.append(turn_comes)
        try:
            turn_comes.wait(timeout_s)
        except BaseException:
            # Cut short from outside, maybe between the handing over and the waking up: then it goes to the next.
            if turn_comes.is_set():
                self._release()
            else:
                self._queue.remove(turn_comes)
            raise
        if not turn_comes.is_set():
            self._queue.remove(turn_comes)
            raise WorkerBusy("This gateway is busy and no turn became free in time.")
        return Slot(self._release)

    def _release(self) -> None:
        if self._queue:
            self._queue.popleft().set()
        else:
            self.running -= 1

    def __repr__(self) -> str:
        return f"<Admission running={self.running}/{self._limit} waiting={self.waiting}>"
