"""Watches requests on their way through codex: how long they waited, how their turns ended, what each turn was like."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.backend.observer import NullObserver, TurnObserver
from app.backends.app_server.turn import Turn
from app.observability import labels
from app.observability.metrics import Metrics
from app.observability.requests import RequestRecord
from app.observability.trace_buffer import TraceBuffer
from app.rpc.call_record import CallReport
from app.rpc.messages import Notification


class MetricsObserver(NullObserver):
    """Counts one turn when it is given back."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def ended(self, turn: Turn) -> None:
        """Count it, with its state and how long it took."""
        self._metrics.turn_ended(turn.state, (time.monotonic() - turn.started) * 1000)


class TracingObserver(MetricsObserver):
    """Counts one turn, and keeps a trace of it."""

    def __init__(self, metrics: Metrics, record: RequestRecord, buffer: TraceBuffer) -> None:
        super().__init__(metrics)
        self._record = record
        self._buffer = buffer
        self._trace = buffer.begin(record.request_id)
        self._turn: Turn | None = None

    def called(self, report: CallReport) -> None:
        """Note the call. One that fails before there is a thread was the last."""
        self._trace.note_call(report)
        if self._turn is None and report.status != "ok":
            self._trace.ended = report.ended
            self._hand_over()

    def began(self, turn: Turn) -> None:
        """Keep the turn until its end: only then all its ids are known."""
        self._turn = turn

    def notified(self, notification: Notification) -> None:
        """Note the event."""
        self._trace.note_event(notification, time.monotonic())

    def ended(self, turn: Turn) -> None:
        """Count it and note the outcome."""
        super().ended(turn)
        self._trace.ended = time.monotonic()
        self._trace.outcome = turn.state.value

    def closed(self) -> None:
        """Hand the trace over to be written."""
        turn, self._turn = (
            self._turn,
            None,
        )  # the turn holds this watch: let go, or only a collection frees both
        if turn is None:
            return
        trace = self._trace
        trace.thread_id, trace.turn_id = turn.thread_id, turn.turn_id
        trace.generation = turn.generation
        trace.error_code = labels.loggable_code(turn.error.code if turn.error else None)
        self._hand_over()

    def _hand_over(self) -> None:
        trace, record = self._trace, self._record
        trace.route, trace.stream, trace.queue_ms = record.route, record.stream, record.queue_ms
        # Where the turn itself did not fail, its request may have, and the turn ended for that.
        trace.error_code = trace.error_code or labels.loggable_code(record.error_code)
        self._buffer.add(trace)


class HttpRequestObserver:
    """See `app.backend.observer.RequestObserver`."""

    def __init__(self, record: RequestRecord, metrics: Metrics, traces: TraceBuffer) -> None:
        self._record = record
        self._metrics = metrics
        self._traces = traces

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Add the time inside to the record, also where the wait was in vain."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._record.note_wait(time.monotonic() - began)

    def turn(self) -> TurnObserver:
        """Return the watcher of one more turn."""
        if self._traces.is_on:
            return TracingObserver(self._metrics, self._record, self._traces)
        return MetricsObserver(self._metrics)
