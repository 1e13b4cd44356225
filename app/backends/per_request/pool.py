"""Pool of codex processes: how many there may be at once, how many start at once, and the stock of those ahead.

Whoever is given a process gives it back by `end` or `put_back`, neither of which blocks. A start that was begun is
finished, also where the request that wanted it is gone: another one can have the process.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from functools import partial

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

from app.backends.app_server.shielded import run_shielded
from app.backends.per_request.process import Process
from app.backends.per_request.starter import Starter

_STOP_S = 8.0
_STARTS_AT_ONCE = max(2, os.cpu_count() or 1)
"""A start is work for a processor: more at once would only make each of them late."""


class TooLate(Exception):
    """The time of a request was over before it had a process."""


class NoPlace(TooLate):
    """The same, and its own start had not begun: there were as many processes, or starts, as there may be."""


class Pool:
    """At most `most` processes have a turn, `spare` wait for one, and one more is there for the pool's own purposes.

    `wake` is set when the stock has become smaller; once `stopping` is set, nothing is kept any more.
    """

    def __init__(
        self, starter: Starter, *, most: int, spare: int, wake: Event, stopping: Event
    ) -> None:
        self.stock: list[Process] = []
        self.last_start = 0.0
        """When a process last shook hands (monotonic seconds)."""
        self._starter = starter
        self._spare = spare
        self._wake, self._stopping = wake, stopping
        self._room = BoundedSemaphore(most + spare + 1)
        self._starts = BoundedSemaphore(_STARTS_AT_ONCE)
        self._starting, self._ending = Group(), Group()
        self._ended: Counter[str] = Counter()

    @property
    def counters(self) -> Counter[str]:
        """What was odd but survived, in all processes so far."""
        return sum((one.counters for one in self._starter.processes), self._ended)

    @property
    def is_starting(self) -> bool:
        """True if as many processes are being started as may be at once."""
        return self._starts.locked()

    # Starting

    def start_within(self, deadline: float) -> Process:
        """Start a process for a turn. Blocks until `deadline` (monotonic seconds).

        Raises `TooLate` or `NoPlace` then, `StartFailed`, and `UpstreamAuth` where its login cannot be renewed.
        """
        with gevent.Timeout(max(0.0, deadline - time.monotonic()), TooLate):
            return self.start(is_for_turn=True)

    def start(self, *, is_for_turn: bool = False) -> Process:
        """Start a process, as soon as there is room for it. Blocks; raises as `Starter.start`."""
        try:
            self._take_place()
        except TooLate:
            raise NoPlace from None
        starting = partial(self._start, is_for_turn=is_for_turn)
        return run_shielded(self._starting, starting, self.put_back)

    def _take_place(self) -> None:
        self._room.acquire()
        try:
            self._starts.acquire()
        except BaseException:
            self._room.release()
            raise

    def _start(self, *, is_for_turn: bool) -> Process:
        """Start a process on room that was taken for it, which is given back with its end."""
        try:
            process = self._starter.start(is_for_turn=is_for_turn)
        except BaseException:
            self._room.release()
            raise
        finally:
            self._starts.release()
        self.last_start = time.monotonic()
        return process

    # The stock

    @property
    def has_gap(self) -> bool:
        """True if the stock wants another process. What has become useless in it is ended."""
        for process in [one for one in self.stock if not self._is_usable(one)]:
            self.stock.remove(process)
            self.end(process)
        return len(self.stock) < self._spare

    def take_spare(self) -> Process | None:
        """Return a process from the stock, if there is one."""
        while self.stock:
            process = self.stock.pop(0)
            self._wake.set()
            if self._is_usable(process):
                return process
            self.end(process)
        return None

    def put_back(self, process: Process) -> None:
        """Keep a process that had no turn for one that comes, or end it."""
        has_place = len(self.stock) < self._spare and not self._stopping.is_set()
        if has_place and self._is_usable(process):
            self.stock.append(process)
        else:
            self.end(process)

    def _is_usable(self, process: Process) -> bool:
        return process.spec is self._starter.spec and process.is_usable

    # Ending

    def end(self, process: Process, *, is_pattern: bool = False) -> None:
        """End a process once nothing runs on it. `is_pattern`: others get copies of its databases."""
        self._ending.spawn(self._end, process, is_pattern=is_pattern)

    def _end(self, process: Process, *, is_pattern: bool) -> None:
        try:
            self._starter.end(process, is_pattern=is_pattern)
        finally:
            self._ended += process.counters
            self._room.release()

    def end_all(self) -> None:
        """End every process, whatever it does: `stopping` is set. Blocks until they are gone."""
        self._starter.abort()
        for process in self.stock:
            self.end(process)
        self.stock.clear()
        self._starting.join(_STOP_S / 2)
        self._starting.kill()  # what waits for a renewal of the login
        self._ending.join(_STOP_S / 2)
