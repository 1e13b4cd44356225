"""Span recorder of one worker: finished requests and turns wait in a bounded queue until their spans are exported.

Nothing of it runs while a request does but two draws of random ids. Spans are made, encoded and sent in batches by one
native thread beside the hub, so that a collector that is slow, or gone, costs spans and nothing else.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool

from app.budget import Shares
from app.observability.requests import RequestRecord
from app.observability.spans import Finished, SpanData, SpanIds, spans_of
from app.observability.trace_context import parse_traceparent
from app.observability.traces import Trace

log = logging.getLogger("codex_api.traces")

MAX_WAITING = 8192
"""Spans that wait: some ten megabytes."""

_BATCH = 512
_GATHER_S = 1.0
_STOP_S = 2.0

Export: TypeAlias = Callable[[Sequence[SpanData], float], bool]
"""Exports spans, whose times are so many seconds before Unix time; False where that failed. Blocks, off the loop."""


_Counted: TypeAlias = tuple[int, Finished]
"""With the spans that it makes: so many are given back of the queue as were taken."""


class RequestSpan:
    """Place of one request in a trace, and what its spans are made of. A `Listener` of its record."""

    def __init__(self, ids: SpanIds, take: Callable[[Finished], None]) -> None:
        self._ids = ids
        self._take = take
        self._waits: list[tuple[float, float]] = []
        self._traces: list[Trace] = []

    def inner(self) -> RequestSpan:
        """Return the place of a background answer, which goes on when its request is over."""
        return RequestSpan(
            self._ids._replace(span_id=secrets.token_hex(8), parent_id=self._ids.span_id),
            self._take,
        )

    def waited(self, began: float, ended: float) -> None:
        """Note a wait, in monotonic seconds."""
        self._waits.append((began, ended))

    def turn_ended(self, record: RequestRecord, trace: Trace) -> None:
        """Take the finished trace of a turn: it may come before its request is over, or after."""
        if record.is_written:
            self._take(Finished(record, self._ids, (), (trace,), is_late=True))
        else:
            self._traces.append(trace)

    def stream_began(self, record: RequestRecord) -> None:
        """Do nothing: a span is made at the end."""

    def request_ended(self, record: RequestRecord) -> None:
        """Hand over what there is. Of a caller without a key there is no span: anybody could make them."""
        if record.key_name is not None:
            self._take(Finished(record, self._ids, tuple(self._waits), tuple(self._traces)))


class SpanRecorder:
    """See the module. Keys have shares of the queue where there are several.

    `on_full` is called with the number of spans that found no room, `on_sent` with True or False for exported or failed
    and their number; neither may block.
    """

    def __init__(
        self,
        export: Export,
        on_full: Callable[[int], object],
        on_sent: Callable[[bool, int], object],
        *,
        is_split: bool = False,
        gather_s: float = _GATHER_S,
    ) -> None:
        self._export = export
        self._on_full, self._on_sent = on_full, on_sent
        self._gather_s = gather_s
        self._shares = Shares(MAX_WAITING, is_split=is_split)
        self._waiting: deque[_Counted] = deque()
        self._wake, self._hurry = Event(), Event()
        self._thread: ThreadPool | None = None
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._is_failing = False

    def begin(self, traceparent: str | None, scheme: str) -> RequestSpan | None:
        """Return the place of a request in its caller's trace, or in a new one; None if its caller records nothing."""
        context = parse_traceparent(traceparent)
        if context is None:
            ids = SpanIds(secrets.token_hex(16), secrets.token_hex(8), None, scheme)
        elif context.is_sampled:
            ids = SpanIds(context.trace_id, secrets.token_hex(8), context.span_id, scheme)
        else:
            return None
        return RequestSpan(ids, self._add)

    def _add(self, finished: Finished) -> None:
        key, count = finished.record.key_name or "", finished.span_count
        has_room = self._shares.used + count <= self._shares.limit
        if not has_room or not self._shares.may_have(key, count):
            self._on_full(count)
            return
        self._shares.add(key, count)
        self._waiting.append((count, finished))
        self._wake.set()

    def start(self) -> None:
        """Begin to export what comes, in a greenlet. Does not block."""
        self._thread = ThreadPool(1)
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Export what waits. Blocks for two seconds at most; what is not exported by then is lost, and logged."""
        self._hurry.set()
        self._wake.set()
        if self._greenlet is not None:
            self._greenlet.join(_STOP_S)
            self._greenlet.kill(block=False)
        if self._shares.used:
            log.error("spans_lost", extra={"spans": self._shares.used})

    def _run(self) -> None:
        while self._waiting or not self._hurry.is_set():
            self._wake.wait()
            self._hurry.wait(self._gather_s)
            self._wake.clear()
            while self._waiting:
                self._send(self._next_batch())

    def _next_batch(self) -> list[_Counted]:
        batch: list[_Counted] = []
        count = 0
        while self._waiting and count < _BATCH:
            batch.append(self._waiting.popleft())
            count += batch[-1][0]
        return batch

    def _send(self, batch: Sequence[_Counted]) -> None:
        assert self._thread is not None  # noqa: S101  (start made it)
        problem = self._thread.apply(_export, (self._export, batch))
        is_sent = problem is None
        for count, finished in batch:
            self._shares.add(finished.record.key_name or "", -count)
        self._on_sent(is_sent, sum(count for count, _ in batch))
        if is_sent == self._is_failing:
            self._is_failing = not is_sent
            if is_sent:
                log.info("spans_exported_again")
            else:
                log.error("spans_not_exported", extra={"reason": problem})


def _export(export: Export, batch: Sequence[_Counted]) -> str | None:
    """Make the spans of a batch and export them; return why that failed. Does not raise: gevent would print it."""
    try:
        spans = [
            span
            for _, finished in batch
            for span in spans_of(finished, lambda: secrets.token_hex(8))
        ]
        is_taken = export(spans, time.time() - time.monotonic())
    # A defect here must not end the spans of all later requests.
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return None if is_taken else "not_taken"
