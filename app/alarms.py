"""Alarms for moments that are seldom reached: all of them on one timer of the loop.

`gevent.Timeout` makes a timer of the loop for each wait, starts it and destroys it, which costs more than the rest of a
short call. Here setting and cancelling are an entry in a heap. A cancelled one stays there until its moment, or until
most of the heap is cancelled.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from gevent import get_hub

_FEW = 64
"""Entries that are not worth tidying up."""

Ring: TypeAlias = Callable[[], object]


class Alarm:
    """One alarm. `ring` is None once it has rung, or was cancelled."""

    __slots__ = ("ring",)

    def __init__(self, ring: Ring) -> None:
        self.ring: Ring | None = ring

    def cancel(self) -> None:
        """Do not ring any more. Idempotent."""
        self.ring = None


class Alarms:
    """The alarms of one hub. No lock: nothing here yields between reading and changing."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._count = itertools.count()  # alarms themselves have no order
        self._most = _FEW
        self._timer: Any = None
        self._rings_at = math.inf

    def set(self, in_s: float, ring: Ring) -> Alarm:
        """Call `ring` in so many seconds, in the hub: it must not block."""
        alarm, moment = Alarm(ring), time.monotonic() + in_s
        heapq.heappush(self._heap, (moment, next(self._count), alarm))
        if moment < self._rings_at:
            self._start(moment)
        if len(self._heap) > self._most:
            self._tidy()
        return alarm

    def _start(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.close()
        self._rings_at = moment
        self._timer = get_hub().loop.timer(max(0.0, moment - time.monotonic()))
        self._timer.start(self._ring, update=True)

    def _tidy(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].ring is not None]
        heapq.heapify(self._heap)
        self._most = max(_FEW, 2 * len(self._heap))

    def _ring(self) -> None:
        self._rings_at = math.inf
        while self._heap and (
            self._heap[0][2].ring is None or self._heap[0][0] <= time.monotonic()
        ):
            _, _, alarm = heapq.heappop(self._heap)
            ring, alarm.ring = alarm.ring, None
            if ring is not None:
                ring()
        if self._heap and self._heap[0][0] < self._rings_at:
            self._start(self._heap[0][0])

    def __len__(self) -> int:
        """Return how many are held, cancelled ones among them."""
        return len(self._heap)

    def __repr__(self) -> str:
        return f"<Alarms {len(self)}>"
