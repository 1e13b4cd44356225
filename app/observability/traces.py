"""Trace of one turn: a JSON document of its calls and events, when they came, how large they were, and how it ended.

Scrubbed by construction: a list of what may stay, never of what must go. Each field is chosen by name, and is a number,
an id, or a name from a closed set. The words of a turn are in `content` alone, which exists only where an operator
asked for it (`app.observability.trace_content`).

A trace is small, however long its turn: it has one entry for each kind of event, and beyond a number of entries and
calls it only counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from app.observability.trace_content import TEXT, Content
from app.rpc.calls import CallReport
from app.rpc.messages import Notification

FORMAT = 1
"""Counts up when a field changes its meaning: files of another version lie in the folder for a day."""

MAX_BYTES = 64 * 1024
"""Longest trace, encoded: more than the bounds of its parts add up to."""

MAX_CALLS = 32
MAX_EVENTS = 32

COMPLETED = "completed"
NOT_BEGUN = "not_begun"
"""The outcome of a turn for which codex did not even make a thread; the others are those of `TurnState`."""

_RAW_ITEM = "rawResponseItem/completed"
_ITEM_KINDS = frozenset(
    {
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "local_shell_call",
        "web_search_call",
    }
)
_ROLES = frozenset({"user", "assistant", "developer", "system"})
_OPTIONS = ("effort", "summary", "serviceTier")
_USAGE = {
    "input": "inputTokens",
    "cached_input": "cachedInputTokens",
    "cache_write_input": "cacheWriteInputTokens",
    "output": "outputTokens",
    "reasoning_output": "reasoningOutputTokens",
    "total": "totalTokens",
}
_MAX_NAME = 40


_BLANK: Mapping[str, Any] = MappingProxyType(
    {
        "format": FORMAT,
        "request_id": None,
        "thread_id": None,
        "turn_id": None,
        "at": None,
        "worker_pid": None,
        "backend": None,
        "generation": None,
        "route": "unmatched",
        "stream": None,
        "model": None,
        "outcome": NOT_BEGUN,
        "error_code": None,
        "failure": None,
        "usage": None,
        "queue_ms": None,
        "first_event_ms": None,
        "duration_ms": None,
        "calls": (),
        "omitted": {},
    }
)
"""Every member of a document that any turn has, in order, with what stands for not known."""

_Call: TypeAlias = tuple[str, float, float, int, int, str]
"""One call: method, start and end (monotonic seconds), bytes sent and received, status."""


@dataclass(slots=True)
class _Entry:
    """Events of one kind: when the first and the last came, how many, and their bytes."""

    first: float
    last: float
    count: int = 0
    size: int = 0


class Trace:
    """One turn, while it runs and after. `document` has what is known by now; observers add to it.

    A turn that waits holds little of it: the document is put together at the end, by `finished`. `started` is in
    monotonic seconds, `at` is Unix time: when the turn is asked for, before it has a thread.
    """

    def __init__(
        self,
        request_id: str,
        started: float,
        at: float,
        worker_pid: int,
        content: Content | None = None,
    ) -> None:
        self.content = content
        self._started = started
        self._entries: dict[tuple[str, str | None, Any], _Entry] = {}
        self._at = at
        self._calls: list[_Call] = []
        self._omitted = {"calls": 0, "events": 0, "bytes": 0}
        self.document: dict[str, Any] = {"request_id": request_id, "worker_pid": worker_pid}

    def note_call(self, report: CallReport) -> None:
        """Add one call that is over."""
        if isinstance(report.params, dict):
            self.document.update(call_fields(report.method, report.params))
            if self.content is not None:
                self.content.note_call(report.method, report.params)
        if len(self._calls) == MAX_CALLS:
            self._omitted["calls"] += 1
            return
        times, sizes = (report.started, report.ended), (report.sent, report.received)
        self._calls.append((report.method, *times, *sizes, report.status))

    def note_event(self, notification: Notification, now: float) -> None:
        """Add one event: to the entry of its method, an output item's also of its kind and of its turn."""
        method, params = notification.method, notification.params
        if method in _TELLING:
            self.document.update(event_fields(method, params))
        if self.content is not None:
            self.content.note_event(method, params)
        item = item_kind(params.get("item")) if method == _RAW_ITEM else None
        self._add((method, item, params.get("turnId") if item else None), 1, notification.size, now)

    def note_text(self, texts: Sequence[str], size: int, now: float) -> None:
        """Add pieces of text that came together, in lines of so many bytes."""
        if self.content is not None:
            for text in texts:
                self.content.note_event(TEXT, {"delta": text})
        self._add((TEXT, None, None), len(texts), size, now)

    def _add(self, kind: tuple[str, str | None, Any], count: int, size: int, now: float) -> None:
        entry = self._entries.get(kind)
        if entry is None and len(self._entries) == MAX_EVENTS:
            self._omitted["events"] += count
            self._omitted["bytes"] += size
            return
        if entry is None:
            entry = self._entries[kind] = _Entry(now, now)
        entry.last = now
        entry.count += count
        entry.size += size

    def end(self, now: float, outcome: str = NOT_BEGUN) -> None:
        """Note when the turn ended, and how."""
        self.document.update(duration_ms=self._ms(now), outcome=outcome)

    @property
    def started(self) -> float:
        """When the turn was asked for, in monotonic seconds."""
        return self._started

    @property
    def call_count(self) -> int:
        """How many calls the document shows."""
        return len(self._calls)

    @property
    def is_ordinary(self) -> bool:
        """True for a turn that was answered, as nearly all are."""
        return self.document.get("outcome") == COMPLETED and not self.document.get("error_code")

    def finished(self) -> dict[str, Any]:
        """Return the document as it is written. Its `turn_id` tells which items are the model's."""
        turn_id = self.document.get("turn_id")
        events: list[dict[str, Any]] = []
        for (method, item, reported_under), entry in self._entries.items():
            shown: dict[str, Any] = {"method": method, "item": item} if item else {"method": method}
            if item and reported_under != turn_id:  # codex also reports the items of the prompt
                shown["injected"] = True
            shown["at_ms"] = self._ms(entry.first)
            shown["over_ms"] = round((entry.last - entry.first) * 1000, 1)
            events.append({**shown, "count": entry.count, "bytes": entry.size})
        first = next((event["at_ms"] for event in events if "injected" not in event), None)
        document = {
            **_BLANK,
            **self.document,
            "at": datetime.fromtimestamp(self._at, UTC).isoformat(timespec="milliseconds"),
            "first_event_ms": first,
            "calls": [self._shown(*call) for call in self._calls],
            "omitted": self._omitted.copy(),
            "events": events,
        }
        if self.content is not None:
            document["content"] = self.content.to_document(turn_id)
        return document

    def _shown(
        self, method: str, started: float, ended: float, sent: int, received: int, status: str
    ) -> dict[str, Any]:
        return {
            "method": method,
            "at_ms": self._ms(started),
            "duration_ms": round((ended - started) * 1000, 1),
            "sent_bytes": sent,
            "received_bytes": received,
            "status": status,
        }

    def _ms(self, moment: float) -> float:
        return round((moment - self._started) * 1000, 1)


def item_kind(item: Any) -> str:
    """Return the type of an item, a message's with its role; `other` for what the upstream made up."""
    if not isinstance(item, dict):
        return "other"
    kind, role = str(item.get("type")), str(item.get("role"))
    if kind == "message" and role in _ROLES:
        return f"message {role}"
    return kind if kind in _ITEM_KINDS else "other"


def call_fields(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of the parameters of a call: a model of codex's list, checked options, and counts."""
    match method:
        case "thread/start":
            return {"model": params.get("model"), "tools": len(params.get("dynamicTools") or ())}
        case "thread/inject_items":
            return {"items": dict(Counter(map(item_kind, params.get("items") or ())))}
        case "turn/start":
            # A thread that waited for a request was started with another model.
            model = {"model": params["model"]} if "model" in params else {}
            options = {name: params[name] for name in _OPTIONS if name in params}
            return {**model, "options": options, "has_schema": "outputSchema" in params}
    return {}


_TELLING = frozenset({"thread/tokenUsage/updated", "error", "turn/completed"})
"""Methods of the events of which `event_fields` tells something."""


def event_fields(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokens (`usage`) or the reason of a failure (`failure`), if the event tells one."""
    match method, params:
        case "thread/tokenUsage/updated", {"tokenUsage": {"total": {} as total}}:
            return {"usage": {ours: total.get(theirs) for ours, theirs in _USAGE.items()}}
        case "error", {"willRetry": True, "error": {} as error}:
            return {"failure": _failure(error.get("codexErrorInfo"))}
        case "turn/completed", {"turn": {"error": {} as error}}:
            return {"failure": _failure(error.get("codexErrorInfo"))}
    return {}


def _failure(info: Any) -> dict[str, Any]:
    """Return codex's reason, a bare name or an object of one name, without its sentence, which can quote anything."""
    status = None
    if isinstance(info, Mapping) and info:
        info, detail = next(iter(info.items()))
        status = detail.get("httpStatusCode") if isinstance(detail, Mapping) else None
    is_name = isinstance(info, str) and info.isascii() and info.isalpha() and len(info) <= _MAX_NAME
    return {
        "kind": info if is_name else "other",
        "http_status": status if isinstance(status, int) else None,
    }
