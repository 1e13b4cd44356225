"""The words of one turn, for an operator who asked for them (`PROXY_TRACE_CONTENT`). Pure.

The prompt's items, the tools that were offered, the answer and the reasoning with their deltas joined, and the calls
with their arguments. Headers and keys never come this far. Everything is cut to fit as it arrives, so that a trace
holds on to no large prompt while its turn runs. Room is counted in bytes of JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from app.rpc.messages import Notification

T = TypeVar("T")

PROMPT_BYTES = 16 * 1024
TOOLS_BYTES = 4 * 1024
ANSWER_BYTES = 8 * 1024
REASONING_BYTES = 3 * 1024
CALLS_BYTES = 5 * 1024

_DEPTH = 16
_NODE_BYTES = 4  # brackets, commas and colons around a value, at most
_DATA_URL_CHARS = 32
_CALL_FIELDS = ("type", "name", "call_id", "arguments", "input", "action")


def cut(text: str, most: int) -> str:
    """Return the beginning of a text that takes at most so many bytes as JSON, fit to be written."""
    kept = text[: max(0, most)].encode("utf-8", "replace").decode()
    while kept and (size := _size(kept)) > most:
        kept = kept[: min(len(kept) * most // size, len(kept) - 1)]
    return kept


def _size(value: Any) -> int:
    return len(orjson.dumps(value))


def _missing(count: int) -> str:
    return f" … [{count} more characters]"


@dataclass(slots=True)
class Room:
    """How many bytes may still be written."""

    left: int

    def take(self, text: str) -> str:
        """Return as much of the text as fits, and how much is missing."""
        most = _DATA_URL_CHARS if text.startswith("data:") else self.left  # an image says nothing
        kept = cut(text, min(most, self.left))
        if len(kept) < len(text):
            kept += _missing(len(text) - len(kept))
        self.left -= _size(kept)
        return kept


def fit(value: Any, room: Room, depth: int = _DEPTH) -> Any:
    """Return a JSON value with its texts cut to fit. Lists and objects end where the room does."""
    room.left -= _NODE_BYTES
    if isinstance(value, str):
        return room.take(value)
    if value is None or isinstance(value, bool | int | float):
        room.left -= _size(value)
        return value
    if depth and isinstance(value, Mapping):
        members = _while_room(value.items(), room)
        return {room.take(str(name)): fit(member, room, depth - 1) for name, member in members}
    if depth and isinstance(value, Sequence):
        return [fit(member, room, depth - 1) for member in _while_room(value, room)]
    return "…"


def _while_room(members: Iterable[T], room: Room) -> Iterator[T]:
    """Yield members until the room is used up by what becomes of them."""
    for member in members:
        if room.left <= 0:
            return
        yield member


def newest(items: Sequence[Any], most: int) -> list[Any]:
    """Return the last items that fit, in their order; before them, how many were left out."""
    room = Room(most)
    kept = [fit(item, room) for item in _while_room(reversed(items), room)]
    if left_out := len(items) - len(kept):
        kept.append({"left_out": left_out})
    return kept[::-1]


@dataclass(slots=True)
class Text:
    """Deltas, joined as long as there is room."""

    room: int
    parts: list[str] = field(default_factory=list)
    missing: int = 0

    def add(self, delta: Any) -> None:
        """Add one delta, or the part of it that fits."""
        if not isinstance(delta, str):
            return
        part = cut(delta, self.room) if self.room > 0 else ""
        if part:
            self.parts.append(part)
            self.room -= _size(part)
        if len(part) < len(delta):
            self.missing += len(delta) - len(part)
            self.room = 0  # a text with a hole would mislead

    def __str__(self) -> str:
        return "".join(self.parts) + (_missing(self.missing) if self.missing else "")


class Content:
    """See the module."""

    def __init__(self) -> None:
        self._prompt: list[Any] = []
        self._tools: list[Any] = []
        self._answer = Text(ANSWER_BYTES)
        self._reasoning = Text(REASONING_BYTES)
        self._calls: dict[str | None, tuple[list[Any], Room]] = {}

    def note_call(self, method: str, params: Mapping[str, Any]) -> None:
        """Keep what codex was asked, if this call says it."""
        if method == "thread/inject_items":
            self._prompt = newest(params.get("items") or (), PROMPT_BYTES)
        elif method == "thread/start":
            self._tools = newest(params.get("dynamicTools") or (), TOOLS_BYTES)

    def note_event(self, notification: Notification) -> None:
        """Keep what the model said, if this event says it."""
        method, params = notification.method, notification.params
        if method == "item/agentMessage/delta":
            self._answer.add(params.get("delta"))
        elif method.startswith("item/reasoning/"):
            self._reasoning.add(params.get("delta"))

    def note_item(self, turn_id: str | None, item: Any) -> None:
        """Keep an output item, if it is a call. The others are deltas already, or encrypted."""
        if not isinstance(item, Mapping) or not str(item.get("type")).endswith("_call"):
            return
        # The prompt's own calls are reported, too, under another turn's id: they must not take this one's room.
        calls, room = self._calls.setdefault(turn_id, ([], Room(CALLS_BYTES)))
        if room.left > 0:
            calls.append(fit({name: item[name] for name in _CALL_FIELDS if name in item}, room))

    def to_document(self, turn_id: str | None) -> dict[str, Any]:
        """Return what is written."""
        return {
            "prompt": self._prompt,
            "tools": self._tools,
            "answer": str(self._answer),
            "reasoning": str(self._reasoning),
            "calls": self._calls.get(turn_id, ([],))[0],
        }
