"""Trace buffer of one worker: finished traces wait in a bounded queue until they are written to disk.

The folder keeps the newest hundred, so that no more need ever wait. Where many turns end, their traces wait for a
while: most of them are then out of date before they are written, and cost nothing. One of a turn that failed waits for
nobody.

Files block, and gevent does not change that: so reading and writing is done by one native thread beside the hub, and a
slow or hanging disk delays traces and nothing else.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors

from app.observability import trace_files
from app.observability.trace_content import Content
from app.observability.traces import Trace

log = logging.getLogger("codex_api.traces")

MAX_WAITING = trace_files.MAX_FILES
"""Traces that wait to be written; more could not be kept anyway."""

_GATHER_S = 0.3
"""How long the first trace waits for others, for each that was written the last time: 30 seconds at most. A file,
each hop to the thread and each pruning costs the loop its time."""

_FLUSH_S = 2.0

_Ended: TypeAlias = tuple[float, Trace]
"""A trace, and when it was finished (Unix time)."""


class TraceBuffer:
    """See the module. Where `is_on` is false nothing is added, and what is there still goes when it is old.

    `on_lost` is called for each trace that could not be written; it must not block.
    """

    def __init__(
        self,
        folder: Path,
        on_lost: Callable[[], object],
        *,
        is_on: bool = True,
        has_content: bool = False,
        prune_every_s: float = 600.0,
        gather_s: float = _GATHER_S,
    ) -> None:
        self.is_on = is_on
        self.has_content = has_content
        self._folder = folder
        self._on_lost = on_lost
        self._prune_every_s, self._gather_s = prune_every_s, gather_s
        self._waiting: deque[_Ended] = deque(maxlen=MAX_WAITING)
        self._wake, self._hurry = Event(), Event()
        self._is_stopping = False
        self._writer: gevent.Greenlet[[], None] | None = None
        self._is_failing = False
        self.entries = 0
        """How many traces there are, in the files of all workers, when this one last looked: after each writing."""

    @cached_property
    def _thread(self) -> ThreadPool:
        # Not before it is used: a command that only builds the application has no use for a thread.
        return ThreadPool(1)

    def begin(self, request_id: str) -> Trace:
        """Return the trace of a turn that is asked for now."""
        content = Content() if self.has_content else None
        return Trace(request_id, time.monotonic(), time.time(), os.getpid(), content)

    def add(self, trace: Trace) -> None:
        """Take a trace that is finished; where too many wait already, the oldest of them gives way. Does not block."""
        self._waiting.append((time.time(), trace))
        self._wake.set()
        if not trace.is_ordinary:
            self._hurry.set()

    def start(self) -> None:
        """Begin to write what comes and to prune what is old, in a greenlet. Does not block."""
        if self.is_on and self.has_content:
            log.warning(
                "trace_content_kept",
                extra={
                    "meaning": "Prompts, answers and tool arguments are written to the trace buffer.",
                    "remedy": "Set PROXY_TRACE_CONTENT=false, then reload (kill -HUP).",
                },
            )
        self._writer = gevent.spawn(self._run)

    def stop(self) -> None:
        """Write what waits, and no more. Blocks for two seconds at most: a hanging disk must not hold up an end."""
        self._is_stopping = True
        self._wake.set()
        self._hurry.set()
        if self._writer is not None:
            self._writer.join(_FLUSH_S)

    def _run(self) -> None:
        self._write([])
        count = 0
        while self._waiting or not self._is_stopping:
            if self._wake.wait(self._prune_every_s):
                self._hurry.wait(self._gather_s * max(1, count))
            self._wake.clear()
            self._hurry.clear()
            count = len(self._waiting)
            self._write_waiting()

    def _write_waiting(self) -> None:
        batch = list(self._waiting)
        self._waiting.clear()
        self._write(batch)

    def _write(self, batch: Sequence[_Ended]) -> None:
        lost, error, left = self._thread.apply(_write, (self._folder, batch))
        self.entries = left if error is None else self.entries
        for _ in range(lost):
            self._on_lost()
        if error is not None and not self._is_failing:
            self._is_failing = True
            # Its text can hold a path.
            reason = errno.errorcode.get(getattr(error, "errno", 0), type(error).__name__)
            log.error("traces_not_written", extra={"reason": reason})
        elif error is None and batch and self._is_failing:
            self._is_failing = False
            log.info("traces_written_again")

    def read(self) -> list[trace_files.Stored]:
        """Return every trace, the one that ended last first (`trace_files.read`). Blocks. Raises `OSError`."""
        if self._waiting:
            self._write_waiting()
        found: list[trace_files.Stored] | OSError
        found = self._thread.apply(wrap_errors((OSError,), trace_files.read), (self._folder,))
        if isinstance(found, list):
            return found
        raise found


def _write(folder: Path, batch: Sequence[_Ended]) -> tuple[int, Exception | None, int]:
    """Write traces and prune; return how many were lost, why, and how many there are.

    Does not raise: gevent would print it. After a failure the rest is not tried: on a full disk it would fail, too.
    """
    written = 0
    try:
        for ended, trace in batch:
            trace_files.write(folder, trace.finished(), ended)
            written += 1
        left = trace_files.prune(folder, time.time())
    # Mostly the disk; a defect here must not end the traces of all later turns either.
    except Exception as error:  # noqa: BLE001
        return len(batch) - written, error, 0
    return 0, None, left
