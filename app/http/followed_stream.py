"""Followed stream: the events of an answer that somebody else drives, from any of them on, to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import gevent

from app.http.event_log import EventLog
from app.http.frames import frame
from app.http.wire import Payload
from app.observability.requests import RequestRecord


class Source(Protocol):
    """Where the frames come from."""

    @property
    def is_over(self) -> bool:
        """True if nothing will come."""

    def read(self, first: int) -> list[bytes]:
        """Return frames from that number on, those that are there. Does not block."""

    def has_told(self, first: int) -> bool:
        """Return True if, now that it is over, there is nothing from that number on."""

    def wait(self, for_s: float) -> None:
        """Block until there may be more to read, or it is over, for that long at most."""

    def close(self) -> None:
        """Note that nobody reads any more."""


class LogSource:
    """The log of an answer that runs in this worker."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._news = log.open()

    @property
    def is_over(self) -> bool:
        """See `Source`."""
        return self._log.is_over

    def read(self, first: int) -> list[bytes]:
        """See `Source`."""
        self._news.clear()
        return self._log.read(first)

    def has_told(self, first: int) -> bool:
        """See `Source`."""
        return first >= self._log.count

    def wait(self, for_s: float) -> None:
        """See `Source`."""
        self._news.wait(for_s)

    def close(self) -> None:
        """See `Source`."""
        self._log.close(self._news)


class StoreSource:
    """The store, in which somebody else's answer is seen when it has ended. `is_held` may block."""

    _LOOK_S = 1.0

    def __init__(self, is_held: Callable[[], bool]) -> None:
        self._is_held = is_held
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """See `Source`."""
        return self._is_over

    def read(self, first: int) -> list[bytes]:
        """See `Source`."""
        return []

    def has_told(self, first: int) -> bool:
        """See `Source`."""
        return False

    def wait(self, for_s: float) -> None:
        """See `Source`."""
        gevent.sleep(min(for_s, self._LOOK_S))
        self._is_over = not self._is_held()

    def close(self) -> None:
        """See `Source`."""


class FollowedStream(Iterator[bytes]):
    """The body of a stream: the frames behind the number `after`, each item one write.

    After `tick_s` without any a sign of life is sent. `rest` returns the frames behind a number where the source has
    come to its end without them; it may block. `head` goes out first.
    """

    def __init__(
        self,
        source: Source,
        after: int,
        tick_s: float,
        sign_of_life: Callable[[], Payload],
        rest: Callable[[int], bytes],
        record: RequestRecord,
        head: bytes = b"",
    ) -> None:
        self._source = source
        self._next = after + 1
        self._tick_s = tick_s
        self._sign_of_life = sign_of_life
        self._rest = rest
        self._record = record
        self._head = head
        self._is_whole = False

    def __next__(self) -> bytes:
        if self._is_whole:
            raise StopIteration
        if head := self._head:
            self._head = b""
            return self._counted(head)
        silent_until = time.monotonic() + self._tick_s
        while True:
            is_over = self._source.is_over  # first: what is read after that is all there will be
            if frames := self._source.read(self._next):
                self._next += len(frames)
                return self._counted(b"".join(frames))
            if is_over:
                self._is_whole = True
                if self._source.has_told(self._next):
                    raise StopIteration
                return self._counted(self._rest(self._next - 1))
            left_s = silent_until - time.monotonic()
            if left_s <= 0:
                return self._counted(frame(self._sign_of_life()))
            self._source.wait(left_s)

    def _counted(self, data: bytes) -> bytes:
        self._record.count_bytes(len(data))
        return data

    def close(self) -> None:
        """Follow no more; called by the server when the response is over, however it ended."""
        if not self._is_whole and self._record.outcome == "completed":
            self._record.outcome = "client_left"
        self._source.close()
