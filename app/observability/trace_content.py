"""Words of one turn, for an operator who asked for them (`PROXY_TRACE_CONTENT`): cut where they are long. Pure.

The prompt's items, the tools that were offered, the answer and the reasoning with their deltas joined, and the calls
with their arguments. Headers and keys never come this far. What arrives is cut at once, so that a trace holds on to no
large prompt while its turn runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

PROMPT_BYTES = 12 * 1024
TOOLS_BYTES = 4 * 1024
CALLS_BYTES = 4 * 1024
ANSWER_CHARS = 4000
REASONING_CHARS = 1000

TEXT = "item/agentMessage/delta"
"""Method of the event that brings a piece of text."""

_TEXT_CHARS = 1000
_DATA_URL_CHARS = 32
_MAX_DEPTH = 16
_MAX_CALLS = 32
_CALL_FIELDS = ("type", "name", "call_id", "arguments", "input", "action")


def clip(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Return a JSON value whose texts are cut to 1000 characters; an image, which says nothing, to 32."""
    if isinstance(value, str):
        return _clip_text(value, _DATA_URL_CHARS if value.startswith("data:") else _TEXT_CHARS)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, Mapping):
        return {clip(str(name)): clip(member, depth - 1) for name, member in value.items()}
    if depth and isinstance(value, Sequence):
        return [clip(member, depth - 1) for member in value]
    return "…"


def keep_last(items: Sequence[Any], most: int) -> list[Any]:
    """Return the last items, clipped, whose JSON takes `most` bytes together; before them, how many were left out."""
    kept: list[Any] = []
    for item in reversed(items):
        clipped = clip(item)
        most -= len(orjson.dumps(clipped)) + 1  # a comma
        if most < 0:
            return [{"left_out": len(items) - len(kept)}, *reversed(kept)]
        kept.append(clipped)
    return kept[::-1]


def _clip_text(text: str, most: int, length: int | None = None) -> str:
    """Return the beginning of a text, fit to be written, and how many of its `length` characters are missing."""
    missing = (len(text) if length is None else length) - most
    kept = text[:most].encode("utf-8", "replace").decode()
    return f"{kept} … [{missing} more characters]" if missing > 0 else kept


@dataclass(slots=True)
class _Deltas:
    """The first `most` characters of a text that comes in pieces, and the length of the whole."""

    most: int
    kept: str = ""
    length: int = 0

    def add(self, delta: Any) -> None:
        if isinstance(delta, str):
            self.kept += delta[: max(0, self.most - self.length)]
            self.length += len(delta)

    def __str__(self) -> str:
        return _clip_text(self.kept, self.most, self.length)


class Content:
    """See the module."""

    def __init__(self) -> None:
        self._prompt: list[Any] = []
        self._tools: list[Any] = []
        self._answer = _Deltas(ANSWER_CHARS)
        self._reasoning = _Deltas(REASONING_CHARS)
        self._calls: dict[Any, list[Any]] = {}

    def note_call(self, method: str, params: Mapping[str, Any]) -> None:
        """Keep what codex was asked, if this call says it."""
        if method == "thread/inject_items":
            self._prompt = keep_last(params.get("items") or (), PROMPT_BYTES)
        elif method == "thread/start":
            self._tools = keep_last(params.get("dynamicTools") or (), TOOLS_BYTES)

    def note_event(self, method: str, params: Mapping[str, Any]) -> None:
        """Keep what the model said, if this event says it. Items other than calls are deltas already, or encrypted."""
        if method == TEXT:
            self._answer.add(params.get("delta"))
        elif method.startswith("item/reasoning/"):
            self._reasoning.add(params.get("delta"))
        elif method == "rawResponseItem/completed":
            self._note_item(params.get("turnId"), params.get("item"))

    def _note_item(self, turn_id: Any, item: Any) -> None:
        if not isinstance(item, Mapping) or not str(item.get("type")).endswith("_call"):
            return
        # The prompt's own calls are reported, too, under another turn's id: they must not take this one's room.
        calls = self._calls.setdefault(turn_id, [])
        if len(calls) < _MAX_CALLS:
            calls.append(clip({name: item[name] for name in _CALL_FIELDS if name in item}))

    def to_document(self, turn_id: str | None) -> dict[str, Any]:
        """Return what is written of the turn with this id."""
        return {
            "prompt": self._prompt,
            "tools": self._tools,
            "answer": str(self._answer),
            "reasoning": str(self._reasoning),
            "calls": keep_last(self._calls.get(turn_id, ()), CALLS_BYTES),
        }
