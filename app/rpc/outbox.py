"""Outbox of a channel: whole lines on their way to the peer."""

from __future__ import annotations

from collections import deque

from gevent.event import Event
from gevent.lock import RLock

MAX_OUTBOX_BYTES = 256 * 1024 * 1024


class Outbox:
    """Lines that wait: put in by any greenlet, taken out by the one writer. Only `wait` blocks."""

    def __init__(self) -> None:
        self._lock = RLock()  # guards everything below; held for no I/O
        self._lines: deque[bytes] = deque()
        self._has_lines = Event()
        self._is_closed = False
        self.size = 0
        """Bytes that wait."""

    @property
    def is_closed(self) -> bool:
        """True once nothing more is taken."""
        return self._is_closed

    def put(self, line: bytes) -> bool:
        """Add a line; False if it would be more than `MAX_OUTBOX_BYTES`. Not to be called once closed."""
        with self._lock:
            if self.size + len(line) > MAX_OUTBOX_BYTES:
                return False
            self._lines.append(line)
            self.size += len(line)
        self._has_lines.set()
        return True

    def take(self) -> list[bytes]:
        """Return everything that waits."""
        with self._lock:
            batch = list(self._lines)
            self._lines.clear()
            self.size = 0
            self._has_lines.clear()
        return batch

    def wait(self) -> None:
        """Block until there is a line, or the outbox is closed."""
        self._has_lines.wait()

    def close(self) -> bool:
        """Take no more lines and wake the writer; True the first time."""
        with self._lock:
            if self._is_closed:
                return False
            self._is_closed = True
        self._has_lines.set()
        return True
