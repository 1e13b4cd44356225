"""Record of one request, and its canonical log line, written when the last byte is gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

from app.answers.chunks import Cause
from app.answers.summary import Summary
from app.backend.request import Model
from app.observability import labels
from app.observability.traces import Trace

log = logging.getLogger("codex_api.http")


class Listener(Protocol):
    """Listener to the ends of requests. Called in the request's greenlet; must not block, must not raise."""

    def stream_began(self, record: RequestRecord) -> None:
        """The response is a stream, and its 200 goes out now."""

    def request_ended(self, record: RequestRecord) -> None:
        """The last byte is gone and the line is written."""


class Span(Listener, Protocol):
    """Place of a request in a trace of OpenTelemetry: see `app.observability.span_recorder`. Nothing of it blocks."""

    def inner(self) -> Span:
        """Return the place of a background answer of this request."""

    def waited(self, began: float, ended: float) -> None:
        """Note a wait, in monotonic seconds."""

    def turn_ended(self, record: RequestRecord, trace: Trace) -> None:
        """Take the finished trace of a turn."""


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request so far. Each layer fills in what it learns; `write` ends it."""

    request_id: str
    method: str
    route: str = "unmatched"
    key_name: str | None = None
    status: int = 0
    outcome: str = "completed"
    error_code: str | None = None
    limited_by: str | None = None
    full_queue: str | None = None
    model: str | None = None
    requested_model: str | None = None
    stream: bool | None = None
    finish_reason: str | None = None
    backend: str | None = None
    thread_id: str | None = None
    generation: int | None = None
    kept_thread: str | None = None
    queue_ms: float | None = None
    ttft_ms: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    ignored_parameters: tuple[str, ...] = ()
    request_bytes: int | None = None
    compressed_bytes: int | None = None
    looked_up_bytes: int = 0
    response_bytes: int | None = None
    duration_ms: float | None = None
    transport: str | None = None
    is_background: bool = False
    is_handed_over: bool = False
    is_streaming: bool = False
    is_written: bool = False
    known_models: Sequence[Model] = ()
    span: Span | None = None
    started: float = field(default_factory=time.monotonic)
    listeners: list[Listener] = field(default_factory=list)

    def age_ms(self) -> int:
        """Return how long ago the request began, in whole milliseconds."""
        return round((time.monotonic() - self.started) * 1000)

    def begin_stream(self) -> None:
        """Note that the response is a stream and begins now."""
        self.is_streaming = True
        for listener in self.listeners:
            listener.stream_began(self)

    def count_bytes(self, count: int) -> None:
        """Add bytes of the response's body that were handed to the server."""
        self.response_bytes = (self.response_bytes or 0) + count

    def note_wait(self, began: float, ended: float) -> None:
        """Add time spent in admission, waiting for a slot or for the child; in monotonic seconds."""
        self.queue_ms = round((self.queue_ms or 0.0) + (ended - began) * 1000, 1)
        if self.span is not None:
            self.span.waited(began, ended)

    def note_answer(self, summary: Summary, reason: Callable[[Cause], str]) -> None:
        """Note what the request was answered with, and what that cost in tokens; `reason` words the end."""
        self.thread_id, self.ttft_ms = summary.thread_id, summary.ttft_ms
        self.kept_thread = summary.lookup or None
        if summary.rerouted_to is not None:
            self.model, self.requested_model = summary.rerouted_to, summary.model
        self.finish_reason = None if summary.cause is None else reason(summary.cause)
        if summary.usage is not None:
            usage = summary.usage
            self.prompt_tokens, self.cached_tokens = usage.input, usage.cached_input
            self.completion_tokens, self.reasoning_tokens = usage.output, usage.reasoning_output
            self.cache_write_tokens = usage.cache_write_input or None

    def fields(self) -> dict[str, object]:
        """Return what is known, by name, without what is about the record itself."""
        known = dict(zip(_SHOWN, _shown(self), strict=True))
        known["error_code"] = labels.loggable_code(self.error_code)
        known["ignored_parameters"] = tuple(map(labels.loggable_parameter, self.ignored_parameters))
        return {name: value for name, value in known.items() if value is not None and value != ()}

    def write(self) -> None:
        """Log the line and tell the listeners; a second call does nothing."""
        if self.is_written:
            return
        self.is_written = True
        self.duration_ms = round((time.monotonic() - self.started) * 1000, 1)
        if self.is_background:
            log.info("background_answer", extra=self.fields())
        else:
            log.info("request", extra=self.fields())
        for listener in self.listeners:
            listener.request_ended(self)


_HIDDEN = {
    "is_background",
    "is_handed_over",
    "is_streaming",
    "looked_up_bytes",
    "is_written",
    "known_models",
    "span",
    "started",
    "listeners",
}
_SHOWN = tuple(name for name in RequestRecord.__slots__ if name not in _HIDDEN)
_shown = attrgetter(*_SHOWN)
