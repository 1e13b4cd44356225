"""The trace buffer of one worker: finished traces wait in a bounded queue, and one greenlet has them written.

Files block, and gevent does not change that: so reading and writing is done by one native thread beside the hub, and a
slow or hanging disk delays traces and nothing else.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool

from app.observability import trace_files
from app.observability.trace_content import Content
from app.observability.traces import Trace, encode

log = logging.getLogger("codex_api.traces")

MAX_WAITING = trace_files.MAX_FILES
"""Traces that wait to be written; more could not be kept anyway."""

_GATHER_S = 0.05
"""How long the first trace waits for others: written together they cost less."""

_FLUSH_S = 2.0


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
    ) -> None:
        self.is_on = is_on
        self.has_content = has_content
        self._folder = folder
        self._on_lost = on_lost
        self._prune_every_s = prune_every_s
        self._waiting: deque[Trace] = deque()
        self._has_news = Event()
        self._is_stopping = False
        self._writer: gevent.Greenlet[[], None] | None = None
        self._is_failing = False

    @cached_property
    def _thread(self) -> ThreadPool:
        # Not before it is used: a command that only builds the application has no use for a thread.
        return ThreadPool(1)

    # Adding

    def begin(self, request_id: str) -> Trace:
        """Return the trace of a turn that is asked for now."""
        content = Content() if self.has_content else None
        return Trace(request_id, time.monotonic(), time.time(), os.getpid(), content)

    def add(self, trace: Trace) -> None:
        """Take a trace that is finished. Does not block; where too many wait already, it is lost, and counted."""
        if len(self._waiting) >= MAX_WAITING:
            self._on_lost()
            return
        self._waiting.append(trace)
        self._has_news.set()

    # Writing

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
        self._has_news.set()
        if self._writer is not None:
            self._writer.join(_FLUSH_S)

    def _run(self) -> None:
        self._keep([])
        while not self._is_stopping or self._waiting:
            if self._has_news.wait(self._prune_every_s) and not self._is_stopping:
                gevent.sleep(_GATHER_S)
            self._has_news.clear()
            batch = list(self._waiting)
            self._waiting.clear()
            self._keep(batch)

    def _keep(self, batch: list[Trace]) -> None:
        lost, error = self._thread.apply(_write, (self._folder, batch))
        for _ in range(lost):
            self._on_lost()
        if error is not None and not self._is_failing:
            self._is_failing = True
            log.error("traces_not_written", extra={"reason": _reason(error)})
        elif error is None and batch and self._is_failing:
            self._is_failing = False
            log.info("traces_written_again")

    # Reading

    def entries(self) -> int:
        """Return how many traces there are, in the files of all workers; 0 if the folder cannot be read."""
        try:
            return trace_files.count(self._folder)
        except OSError:
            return 0

    def summaries(self) -> list[dict[str, Any]]:
        """Return a line about each trace, newest first. Blocks. Raises `OSError`."""
        return list(trace_files.summaries(self._contents()))

    def of_request(self, request_id: str) -> list[dict[str, Any]]:
        """Return every trace of one request, in the order of their beginnings. Blocks. Raises `OSError`."""
        found = list(trace_files.of_request(self._contents(), request_id))
        return sorted(found, key=lambda document: str(document["at"]))

    def _contents(self) -> Iterator[bytes]:
        contents, error = self._thread.apply(_read, (self._folder,))
        if error is not None:
            raise error
        for content in contents:
            yield content
            gevent.sleep(0)  # a hundred long ones would keep everybody else waiting


# What runs in the native thread: no logging, nothing of gevent's, and no raising, which gevent would print.


def _write(folder: Path, batch: list[Trace]) -> tuple[int, Exception | None]:
    """Write traces and prune; return how many were lost, and why.

    After a failure the rest is not tried: on a full disk it would fail, too.
    """
    done = 0
    try:
        for done, trace in enumerate(batch):  # noqa: B007  (counted for the failure below)
            trace_files.write(folder, encode(trace), time.time())
        done = len(batch)
        trace_files.prune(folder, time.time())
    # Mostly the disk; a defect here must not end the traces of all later turns either.
    except Exception as error:  # noqa: BLE001
        return len(batch) - done, error
    return 0, None


def _read(folder: Path) -> tuple[list[bytes], OSError | None]:
    try:
        return list(trace_files.contents(folder)), None
    except OSError as error:
        return [], error


def _reason(error: Exception) -> str:
    """Return what may be logged of a failure: its text can hold a path."""
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno or 0, "unknown")
    return type(error).__name__
