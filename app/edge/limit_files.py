"""Counts requests on this machine: one small file for each key, below CODEX_HOME, which all workers map into memory.

Not in a worker's own memory: the two workers of a reload would count apart, and every reload, crash and restart would
hand out a fresh day. The file has a ring for each window: the place of the oldest entry, then the times of the last
`limit` requests. One more fits if the oldest is old enough, so a decision reads two numbers, however large the limit.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.edge.limit_windows import Reading, Verdict
from app.setting_values import Window

_WORD = 8  # bytes: a place (unsigned) or a time (double)


class LimitFiles:
    """See the module. `clock` is Unix time in seconds, so that what was counted outlives a restart of the machine."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._books: dict[tuple[str, tuple[Window, ...]], _Book] = {}

    def take(self, name: str, windows: Sequence[Window]) -> Verdict:
        """Count one request of a key in all its windows, or in none. Raises `OSError`.

        Holds a lock between processes for some microseconds.
        """
        book = self._book(name, tuple(windows))
        with _locked(book.descriptor):
            return book.read(self._clock(), is_new=True)

    def look(self, name: str, windows: Sequence[Window]) -> Verdict:
        """Return what `take` would, and count nothing. Raises `OSError`."""
        book = self._book(name, tuple(windows))
        with _locked(book.descriptor):
            return book.read(self._clock(), is_new=False)

    def _book(self, name: str, windows: tuple[Window, ...]) -> _Book:
        book = self._books.get((name, windows))
        if book is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            book = self._books[name, windows] = _Book(self._folder / _file(name, windows), windows)
        return book

    def __repr__(self) -> str:
        return f"<LimitFiles books={len(self._books)}>"


def _file(name: str, windows: Sequence[Window]) -> str:
    """Return a file name for any name of a key. The limit is a part of it: one that changes begins anew."""
    limits = ";".join(f"{window.limit}/{window.seconds}" for window in windows)
    return hashlib.sha256(f"{name}:{limits}".encode()).hexdigest()[:32]


class _Book:
    """The file of one key: a ring for each of its windows. `descriptor` is there to be locked."""

    def __init__(self, path: Path, windows: Sequence[Window]) -> None:
        size = sum(window.limit + 1 for window in windows) * _WORD
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with _locked(self.descriptor):
                if os.fstat(self.descriptor).st_size < size:
                    # All of it, not a hole: a full disk is to be noticed here, not at the first touch of a page.
                    _fill(self.descriptor, size)
            content = memoryview(mmap.mmap(self.descriptor, size))
        except BaseException:
            os.close(self.descriptor)
            raise
        self._rings, start = [], 0
        for window in windows:
            end = start + (window.limit + 1) * _WORD
            self._rings.append(_Ring(content[start:end], window))
            start = end

    def read(self, now: float, *, is_new: bool) -> Verdict:
        is_allowed = all(ring.has_room(now) for ring in self._rings)
        if is_allowed and is_new:
            for ring in self._rings:
                ring.add(now)
        return Verdict(is_allowed, tuple(ring.read(now) for ring in self._rings))


def _fill(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.pwrite(descriptor, bytes(size), 0)


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    # The kernel releases it, should the process be killed while it holds it.
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class _Ring:
    """The times of the last requests in one window. 0 is no request."""

    def __init__(self, content: memoryview, window: Window) -> None:
        self._place = content[:_WORD].cast("Q")
        self._times = content[_WORD:].cast("d")
        self._window = window

    @property
    def _oldest(self) -> int:
        return int(self._place[0]) % self._window.limit

    def _counts(self, at: float, now: float) -> bool:
        # Either way: after a clock was set back, nobody waits longer than a window.
        return abs(now - at) < self._window.seconds

    def has_room(self, now: float) -> bool:
        return not self._counts(self._times[self._oldest], now)

    def add(self, now: float) -> None:
        """Write the request over the oldest one."""
        place = self._oldest
        # In this order: a process that is killed in between has counted nothing, and refuses nobody.
        self._place[0] = (place + 1) % self._window.limit
        self._times[place] = now

    def read(self, now: float) -> Reading:
        """Return what counts: a binary search from the oldest to the newest."""
        limit, seconds, oldest, times = (
            self._window.limit,
            self._window.seconds,
            self._oldest,
            self._times,
        )
        first = bisect_left(
            range(limit), True, key=lambda age: self._counts(times[(oldest + age) % limit], now)
        )
        if first == limit:
            return Reading(self._window, 0, 0.0, 0.0)
        frees_s = times[oldest] + seconds - now if first == 0 else 0.0
        newest = times[oldest - 1]  # of a ring: before the first comes the last
        return Reading(self._window, limit - first, frees_s, newest + seconds - now)
