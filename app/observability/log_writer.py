"""Line writer that never blocks who logs: a bounded queue, and one native thread that writes it to a descriptor.

A write to a pipe that nobody reads blocks the whole process, and gevent does not change that. Nor can the descriptor
be made non-blocking: other processes share it. So the thread waits, and where the queue is full lines are lost and
counted. After a fork the child begins with an empty queue and a thread of its own: what waited, the parent writes.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

import io
import os
import select
import signal
import time
from collections import deque
from contextlib import suppress
from typing import Any

from gevent.monkey import get_original

# gevent's own would run the thread as a greenlet: on the loop that it is to keep free.
_allocate_lock = get_original("_thread", "allocate_lock")
_start_new_thread = get_original("_thread", "start_new_thread")
_sleep = get_original("time", "sleep")
_poll = get_original("select", "poll")

MAX_BYTES = 4 << 20
MAX_LINES = 32_768

_RESERVED = 8
"""One part in so many of the queue is for important lines: an error is the last thing to be lost."""

_CHUNK_BYTES = select.PIPE_BUF
"""What a pipe takes whole or not at all, so that the lines of several processes do not tear each other."""

_FLUSH_S = 1.0
_FLUSH_POLL_S = 0.002


class LineWriter:
    """Queue of lines for one descriptor. Its callers are one at a time, as a logging handler's are.

    `given_up` is what the `close` of the writer before this one returned, in this process.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        max_bytes: int = MAX_BYTES,
        max_lines: int = MAX_LINES,
        given_up: int = 0,
    ) -> None:
        self._descriptor = descriptor
        self._given_up = given_up
        self._made_by = os.getpid()
        self._max_bytes, self._max_lines = max_bytes, max_lines
        self._begin(0)

    def _begin(self, pid: int) -> None:
        """Be empty and without a thread, as the writer of this process; of none, where `pid` is 0."""
        self._pid = pid
        self._lines: deque[bytes] = deque()
        # Each of these is moved by one side alone, so that no lock is needed, which a signal's handler could meet.
        self._put_bytes = 0
        self._done_bytes = 0
        self._refused = self._given_up if pid == self._made_by else 0
        self._failed = self._told = 0
        self._is_failing = self._is_torn = False
        self._wake = _allocate_lock()
        self._wake.acquire()

    @property
    def lost(self) -> int:
        """Number of lines that were not written and will not be, in this process."""
        return self._refused + self._failed if self._pid == os.getpid() else 0

    def put(self, line: bytes, *, is_important: bool) -> None:
        """Take a line, with its newline; where too much waits, it is lost. Does not block."""
        if self._pid != os.getpid():
            self._begin(os.getpid())
            _start_new_thread(self._run, (self._wake,))
        share = 0 if is_important else 1
        waiting = self._put_bytes - self._done_bytes + len(line)
        if (
            waiting > self._max_bytes - share * self._max_bytes // _RESERVED
            or len(self._lines) >= self._max_lines - share * self._max_lines // _RESERVED
        ):
            self._refused += 1
            return
        self._put_bytes += len(line)
        self._lines.append(line)
        with suppress(RuntimeError):  # it is awake
            self._wake.release()

    def take_lost(self) -> int:
        """Return how many lines were lost since the last call; 0 until lines get through again."""
        is_stalled = (
            self._put_bytes - self._done_bytes > self._max_bytes // 2
            or len(self._lines) > self._max_lines // 2
        )
        if self._is_failing or is_stalled or self._pid != os.getpid():
            return 0
        lost = self.lost
        new, self._told = lost - self._told, lost
        return new

    def flush(self) -> None:
        """Block until everything is written, for a second at most: a reader may never come back."""
        deadline = time.monotonic() + _FLUSH_S
        while (
            self._pid == os.getpid()
            and self._done_bytes < self._put_bytes
            and time.monotonic() < deadline
        ):
            _sleep(_FLUSH_POLL_S)

    def close(self) -> int:
        """Flush, give up on what is left, and end the thread; the next line begins anew. Blocks as `flush` does.

        Returns how many lines were lost that nobody was told of. What is being written may still get through.
        """
        self.flush()
        is_ours = self._pid == os.getpid()
        lost = self.lost - self._told + len(self._lines) if is_ours else 0
        wake = self._wake
        self._given_up = 0
        self._begin(0)
        with suppress(RuntimeError):
            wake.release()
        return lost

    # The thread

    def _run(self, wake: Any) -> None:
        # A signal is for the main thread: it must not end a wait here, and has to end one there.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while self._wake is wake:
            wake.acquire()
            while self._wake is wake and self._lines:
                lines = self._gather()
                data = b"".join(lines)
                is_written = self._write(data)
                if self._wake is wake:  # else it was closed meanwhile
                    self._failed += 0 if is_written else len(lines)
                    self._done_bytes += len(data)

    def _gather(self) -> list[bytes]:
        """Return what goes into one write: as many lines as a pipe takes whole, or a longer one alone."""
        lines = [self._lines.popleft()]
        room = _CHUNK_BYTES - len(lines[0])
        while self._lines and len(self._lines[0]) <= room:
            lines.append(self._lines.popleft())
            room -= len(lines[-1])
        return lines

    def _write(self, data: bytes) -> bool:
        """Write all of it; False where the descriptor refuses: a closed pipe, a full disk. Blocks."""
        # What is left of a line that was cut off must not be taken for the beginning of this one.
        left = memoryview(b"\n" + data if self._is_torn else data)
        try:
            while left:
                with suppress(BlockingIOError):  # another process has made it non-blocking
                    left = left[os.write(self._descriptor, left) :]
                    self._is_torn = bool(left)
                    continue
                self._await_room()
        except OSError:
            self._is_failing = True
            return False
        self._is_failing = False
        return True

    def _await_room(self) -> None:
        poll = _poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll()


class LineStream(io.TextIOBase):
    """Text stream, such as `sys.stderr`, that hands whole lines to a `LineWriter`; writing does not block."""

    def __init__(self, writer: LineWriter, descriptor: int) -> None:
        super().__init__()
        self._writer = writer
        self._descriptor = descriptor
        self._begun = ""

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, for who hands it on to another process."""
        return self._descriptor

    def write(self, text: str) -> int:
        """Take text; what is no whole line waits for the rest of it, or for `flush`."""
        whole, newline, self._begun = (self._begun + text).rpartition("\n")
        if newline:
            self._put(whole + newline)
        elif len(self._begun) > _CHUNK_BYTES:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Let the writer have what is no whole line yet. Does not wait until it is written."""
        begun, self._begun = self._begun, ""
        if begun:
            self._put(begun)

    def _put(self, text: str) -> None:
        self._writer.put(text.encode(errors="backslashreplace"), is_important=True)
