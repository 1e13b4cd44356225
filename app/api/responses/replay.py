"""Replay of a response that is over: the events that its stream might have had, a text for each part. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

_CALLS = {kind.item: kind for kind in (FUNCTION, CUSTOM)}


def events(response: Mapping[str, Any]) -> Iterator[Event]:
    """Yield the events of a response, without their numbers."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    begun["incomplete_details"] = None
    begun.pop("codex_metadata", None)
    for name in ("created", "in_progress"):
        yield {"type": f"response.{name}", "response": begun}
    for place, item in enumerate(response["output"]):
        yield from _item(item, place)
    yield {"type": f"response.{response['status']}", "response": dict(response)}


def _item(item: Mapping[str, Any], place: int) -> Iterator[Event]:
    kind, status = item["type"], item.get("status", "completed")
    if kind == "message":
        message = MessageItem(item["id"], place, item.get("phase"))
        yield from message.begin()
        for part in item["content"]:
            is_refusal = part["type"] == "refusal"
            for text in in_pieces(part["refusal" if is_refusal else "text"]):
                yield from message.refuse(text) if is_refusal else message.say(text)
        yield from message.end(status)
    elif kind == "reasoning":
        reasoning = ReasoningItem(item["id"], place)
        yield from reasoning.begin()
        for number, (part, is_summary) in enumerate(_thoughts(item)):
            for text in in_pieces(part["text"]):
                yield from reasoning.think(ReasoningText(0, text, str(number), is_summary))
        yield from reasoning.end(status, item.get("encrypted_content"))
    else:
        called = _CALLS[kind]
        who = {name: item[name] for name in ("call_id", "name", "namespace") if name in item}
        call = CallItem(item["id"], place, called, who)
        yield from call.begin()
        yield from call.call(in_pieces(item[called.argument]))
        yield from call.end(status)


def _thoughts(item: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    yield from ((part, True) for part in item["summary"])
    yield from ((part, False) for part in item.get("content", ()))
