"""Replay of a response that is over: the events of its stream. Pure.

Where its shape was noted, they are those that it had; else those that it might have had, a text for each part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from app.answers.chunks import ReasoningText, in_pieces
from app.api.responses.open_items import (
    CUSTOM,
    FUNCTION,
    CallItem,
    Event,
    MessageItem,
    ReasoningItem,
)
from app.api.responses.resource import terminal_event
from app.api.responses.shape import Shape

_CALLS = {kind.item: kind for kind in (FUNCTION, CUSTOM)}
_FOREGROUND = (("created", "in_progress"), ("in_progress", "in_progress"))
_BACKGROUND = (("created", "queued"), ("queued", "queued"), ("in_progress", "in_progress"))
"""The first events, and the status of the response in them."""


def events(response: Mapping[str, Any], shape: Shape | None = None) -> Iterator[Event]:
    """Yield the events of a response, without their numbers."""
    begun = {**response, "output": [], "usage": None, "completed_at": None, "error": None}
    begun["incomplete_details"] = None
    begun.pop("codex_metadata", None)
    for name, status in _FOREGROUND if shape is None else _BACKGROUND[: shape.begun]:
        yield {"type": f"response.{name}", "response": begun | {"status": status}}
    texts = None if shape is None else iter(shape.texts)
    for place, item in enumerate(response["output"]):
        yield from _item(item, place, texts)
    yield {"type": f"response.{terminal_event(response['status'])}", "response": dict(response)}


def _item(
    item: Mapping[str, Any], place: int, texts: Iterator[list[int]] | None
) -> Iterator[Event]:
    kind, status = item["type"], item.get("status", "completed")
    if kind == "message":
        message = MessageItem(item["id"], place, item.get("phase"))
        yield from message.begin()
        for part in item["content"]:
            is_refusal = part["type"] == "refusal"
            for text in _pieces(part["refusal" if is_refusal else "text"], texts):
                yield from message.refuse(text) if is_refusal else message.say(text)
        yield from message.end(status)
    elif kind == "reasoning":
        reasoning = ReasoningItem(item["id"], place)
        yield from reasoning.begin()
        for thought in _thoughts(item, texts):
            yield from reasoning.think(thought)
        yield from reasoning.end(status, item.get("encrypted_content"))
    else:
        called = _CALLS[kind]
        who = {name: item[name] for name in ("call_id", "name", "namespace") if name in item}
        call = CallItem(item["id"], place, called, who)
        yield from call.begin()
        yield from call.call(_pieces(item[called.argument], texts))
        yield from call.end(status)


def _pieces(text: str, texts: Iterator[list[int]] | None) -> Iterator[str]:
    """Yield a text in the pieces in which it came."""
    return in_pieces(text) if texts is None else _cut(text, next(texts)[1:])


def _cut(text: str, lengths: list[int]) -> Iterator[str]:
    at = 0
    for length in lengths:
        yield text[at : at + length]
        at += length


def _thoughts(
    item: Mapping[str, Any], texts: Iterator[list[int]] | None
) -> Iterator[ReasoningText]:
    """Yield the pieces of reasoning, in the order in which they came."""
    summary, content = iter(item["summary"]), iter(item.get("content", ()))
    for number in range(len(item["summary"]) + len(item.get("content", ()))):
        if texts is None:
            is_summary = number < len(item["summary"])
            pieces: Callable[[str], Iterator[str]] = in_pieces
        else:
            is_content, *lengths = next(texts)
            is_summary = not is_content
            pieces = partial(_cut, lengths=lengths)
        part = next(summary if is_summary else content)
        for piece in pieces(part["text"]):
            yield ReasoningText(0, piece, str(number), is_summary)
