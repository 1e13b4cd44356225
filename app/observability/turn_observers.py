"""Observers of requests and turns, for the log, the metrics and the traces.

None holds a turn: its facts come with what happens to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from app.backend.observer import NullObserver, TurnFacts, TurnObserver
from app.errors import CodexOutdated, GatewayError
from app.observability import labels
from app.observability.metrics import Metrics
from app.observability.requests import RequestRecord
from app.observability.trace_buffer import TraceBuffer
from app.rpc.calls import CallReport
from app.rpc.messages import Notification

log = logging.getLogger("codex_api.http")


class MetricsObserver(NullObserver):
    """Counts one turn when it begins, and when it is given back."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def began(self, facts: TurnFacts) -> None:
        """Count where it began."""
        self._metrics.turn_began(facts.lookup, facts.warmth)

    def ended(self, facts: TurnFacts) -> None:
        """Count it, with its state and how long it took."""
        self._metrics.turn_ended(facts.state, (time.monotonic() - facts.started) * 1000)


class TracingObserver(MetricsObserver):
    """Counts one turn, and keeps a trace of it: for the buffer, for spans, or for both."""

    def __init__(self, metrics: Metrics, record: RequestRecord, buffer: TraceBuffer) -> None:
        super().__init__(metrics)
        self._record = record
        self._buffer = buffer
        self._trace = buffer.begin(record.request_id)
        self._has_thread = False

    def called(self, report: CallReport) -> None:
        """Note the call. One that fails before there is a thread was the last."""
        self._trace.note_call(report)
        if not self._has_thread and report.status != "ok":
            self._trace.end(report.ended)
            self._hand_over()

    def began(self, facts: TurnFacts) -> None:
        """Count it and note that `closed` will come."""
        super().began(facts)
        self._has_thread = True

    def notified(self, notification: Notification) -> None:
        """Note the event."""
        self._trace.note_event(notification, time.monotonic())

    def said(self, texts: Sequence[str], size: int) -> None:
        """Note the pieces."""
        self._trace.note_text(texts, size, time.monotonic())

    def ended(self, facts: TurnFacts) -> None:
        """Count it and note the outcome."""
        super().ended(facts)
        self._trace.end(time.monotonic(), facts.state.value)

    def closed(self, facts: TurnFacts) -> None:
        """Hand the trace over to be written."""
        if not self._has_thread:
            return
        self._has_thread = False
        self._trace.document |= {
            "thread_id": facts.thread_id,
            "turn_id": facts.turn_id,
            "generation": facts.generation,
            "kept_thread": facts.lookup or None,
            "warm_thread": facts.warmth or None,
            "error_code": labels.loggable_code(facts.error.code if facts.error else None),
        }
        self._hand_over()

    def _hand_over(self) -> None:
        document, record = self._trace.document, self._record
        names = ("backend", "route", "stream", "queue_ms")
        document |= {name: getattr(record, name) for name in names}
        # Where the turn itself did not fail, its request may have, and the turn ended for that.
        document["error_code"] = document.get("error_code") or labels.loggable_code(
            record.error_code
        )
        if self._buffer.is_on:
            self._buffer.add(self._trace)
        if record.span is not None:
            record.span.turn_ended(record, self._trace)


class _Wait(AbstractContextManager[None]):
    """Wait of a request. A class, for which Python makes fewer calls than for a generator."""

    def __init__(self, record: RequestRecord) -> None:
        self._record = record

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._record.note_wait(self._began, time.monotonic())


class HttpRequestObserver:
    """Observer of one HTTP request: `app.answers.answer.AnswerObserver`."""

    def __init__(self, record: RequestRecord, metrics: Metrics, traces: TraceBuffer) -> None:
        self._record = record
        self._metrics = metrics
        self._traces = traces

    def waiting(self) -> AbstractContextManager[None]:
        """Return a context whose time is added to the record, also where the wait was in vain."""
        return _Wait(self._record)

    def retried(self, facts: TurnFacts, error: GatewayError) -> None:
        """Log it: a stream has left its request context, so the line is given its id here."""
        fields = {"error_code": error.code, "reason": error.message, "thread_id": facts.thread_id}
        log.warning("turn_tried_again", extra=fields | {"request_id": self._record.request_id})

    def failed(self, facts: TurnFacts, error: GatewayError) -> None:
        """Log what the upstream said, if it said anything: its client may be a program that shows it to nobody."""
        if error.upstream_said is None:
            return
        fields = {
            "error_code": error.code,
            "upstream_said": error.upstream_said,
            "thread_id": facts.thread_id,
            "request_id": self._record.request_id,
        }
        if isinstance(error, CodexOutdated):
            log.warning("codex_outdated", extra=fields)
        else:
            log.warning("upstream_refused", extra=fields)

    def turn(self) -> TurnObserver:
        """Return the observer of one more turn."""
        if self._traces.is_on or self._record.span is not None:
            return TracingObserver(self._metrics, self._record, self._traces)
        return MetricsObserver(self._metrics)
