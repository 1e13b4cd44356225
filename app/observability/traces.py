"""What is kept of one turn: its calls and events, when they came, how large they were, and how it ended. Pure.

Scrubbed by construction: fields are chosen one by one, and each is a number, an id, or a name from a closed set
(`app.observability.trace_fields`). The words of a turn are in `content` alone, which exists only where an operator
asked for it (`app.observability.trace_content`).

A trace is small, however long its turn: events of one kind in a row are one entry with a count, and beyond a number of
entries they are only counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import orjson

from app.backend.events import Retrying, TurnEnded, TurnFailure, Usage, UsageUpdated
from app.backends.app_server.parse_events import parse_event
from app.observability.trace_content import Content
from app.observability.trace_fields import describe_call, describe_failure, describe_item
from app.rpc.call_record import CallReport
from app.rpc.messages import Notification

FORMAT = 1
"""Counts up when a field changes its meaning: files of another version lie in the folder for a day."""

MAX_BYTES = 64 * 1024
"""Longest trace, encoded."""

MAX_CALLS = 48
MAX_ENTRIES = 96

NOT_BEGUN = "not_begun"
"""The outcome of a turn for which codex did not even make a thread; the others are those of `TurnState`."""

_RAW = "rawResponseItem/completed"
_USAGE = tuple(field.name for field in fields(Usage))
_TOLD_APART = frozenset({"thread/tokenUsage/updated", "turn/completed", "error"})


@dataclass(slots=True)
class Entry:
    """Events of one kind in a row. `item` and `turn_id` are known of output items only."""

    method: str
    item: str | None
    turn_id: str | None
    first: float
    last: float
    count: int
    size: int

    def to_document(self, started: float, turn_id: str | None) -> dict[str, Any]:
        """Return what is written. codex also reports the items of the prompt, under no turn of ours: `injected`."""
        shown: dict[str, Any] = {"method": self.method}
        if self.item is not None:
            shown["item"] = self.item
        if self.is_injected(turn_id):
            shown["injected"] = True
        return shown | {
            "at_ms": _ms(self.first - started),
            "over_ms": _ms(self.last - self.first),
            "count": self.count,
            "bytes": self.size,
        }

    def is_injected(self, turn_id: str | None) -> bool:
        """True for what is not the model's."""
        return self.method == _RAW and self.turn_id != turn_id


@dataclass(slots=True)
class Trace:
    """One turn, while it runs and after.

    Times are monotonic seconds; `at` is Unix time. Both begin when the turn is asked for, before it has a thread.
    """

    request_id: str
    started: float
    at: float
    worker_pid: int
    content: Content | None = None
    route: str = "unmatched"
    stream: bool | None = None
    queue_ms: float | None = None
    generation: int | None = None
    thread_id: str | None = None
    turn_id: str | None = None
    outcome: str = NOT_BEGUN
    error_code: str | None = None
    ended: float | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    failure: TurnFailure | None = None
    usage: Usage | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    omitted_calls: int = 0
    omitted_events: int = 0
    omitted_bytes: int = 0

    def note_call(self, report: CallReport) -> None:
        """Add one call that is over."""
        if isinstance(report.params, Mapping):
            self.asked |= describe_call(report.method, report.params)
            if self.content is not None:
                self.content.note_call(report.method, report.params)
        if len(self.calls) == MAX_CALLS:
            self.omitted_calls += 1
            return
        self.calls.append(
            {
                "method": report.method,
                "at_ms": _ms(report.started - self.started),
                "duration_ms": _ms(report.ended - report.started),
                "sent_bytes": report.sent,
                "received_bytes": report.received,
                "status": report.status,
            }
        )

    def note_event(self, notification: Notification, now: float) -> None:
        """Add one event. Runs for every delta in the channel's reader, so it is cheap where nothing is new."""
        method, item, turn_id = notification.method, None, None
        if method == _RAW:
            item, turn_id = (
                describe_item(notification.params.get("item")),
                notification.params.get("turnId"),
            )
            if self.content is not None:
                self.content.note_item(turn_id, notification.params.get("item"))
        elif self.content is not None:
            self.content.note_event(notification)
        if method in _TOLD_APART:
            self._note_facts(notification)
        last = self.entries[-1] if self.entries and not self.omitted_events else None
        if last is not None and (last.method, last.item, last.turn_id) == (method, item, turn_id):
            last.count += 1
            last.size += notification.size
            last.last = now
        elif len(self.entries) < MAX_ENTRIES:
            entry = Entry(method, item, turn_id, now, now, 1, notification.size)
            self.entries.append(entry)
        else:
            self.omitted_events += 1
            self.omitted_bytes += notification.size

    def _note_facts(self, notification: Notification) -> None:
        addressed = parse_event(notification.method, notification.params)
        match addressed and addressed.event:
            case UsageUpdated(usage):
                self.usage = usage
            case Retrying(failure) | TurnEnded(_, failure):
                self.failure = failure or self.failure

    def to_document(self) -> dict[str, Any]:
        """Return what is written."""
        document: dict[str, Any] = {
            "format": FORMAT,
            "request_id": self.request_id,
            "thread_id": self.thread_id,
            "turn_id": self.turn_id,
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds"),
            "worker_pid": self.worker_pid,
            "generation": self.generation,
            "route": self.route,
            "stream": self.stream,
            "model": None,
            **self.asked,
            "outcome": self.outcome,
            "error_code": self.error_code,
            "failure": describe_failure(self.failure) if self.failure else None,
            "usage": self.usage and {name: getattr(self.usage, name) for name in _USAGE},
            "queue_ms": self.queue_ms,
            "first_event_ms": self._first_event_ms(),
            "duration_ms": None if self.ended is None else _ms(self.ended - self.started),
            "calls": self.calls,
            "events": [entry.to_document(self.started, self.turn_id) for entry in self.entries],
            "omitted": {
                "calls": self.omitted_calls,
                "events": self.omitted_events,
                "bytes": self.omitted_bytes,
            },
        }
        if self.content is not None:
            document["content"] = self.content.to_document(self.turn_id)
        return document

    def _first_event_ms(self) -> float | None:
        ours = [entry.first for entry in self.entries if not entry.is_injected(self.turn_id)]
        return _ms(ours[0] - self.started) if ours else None


def encode(trace: Trace) -> bytes:
    """Return the trace as one line of JSON. The bounds of its parts keep it within `MAX_BYTES`."""
    return orjson.dumps(trace.to_document(), option=orjson.OPT_APPEND_NEWLINE)


_SUMMARY = (
    "request_id",
    "thread_id",
    "turn_id",
    "at",
    "route",
    "stream",
    "model",
    "outcome",
    "error_code",
    "first_event_ms",
    "duration_ms",
)


def summarize(document: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Return the line of a list for a trace whose file has `size` bytes."""
    shown = {name: document.get(name) for name in _SUMMARY}
    return shown | {"bytes": size, "has_content": "content" in document}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
