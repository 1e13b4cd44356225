"""Encoder from a scripted response to the exact sequence of OpenAI's streaming events. Pure.

The events between `response.in_progress` and the terminal one depend on the script alone, so they
are rendered once and kept. What differs per call, the nonce inside the ids, is written as a
placeholder of NUL characters, which no JSON text can contain unescaped.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from scripted_upstream.items import seal
from scripted_upstream.script import FunctionCall, Item, Message, RawItem, Reasoning, Response

NONCE = "\0nonce-of-this-answer\0"
"""Stands for the part of every id that is new in each call; encoded it is 32 bytes, as that is."""

ENCODED_NONCE = orjson.dumps(NONCE)[1:-1]

FIRST_ITEM_EVENT = 2
"""The sequence number after `response.created` and `response.in_progress`."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event as bytes; `is_delta` frames are the ones that a script paces."""

    data: bytes
    is_delta: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """The events of all items, and the items themselves as a JSON array."""

    frames: tuple[Frame, ...]
    output: bytes
    text_deltas: int
    reasoning_deltas: int


def encode_event(kind: str, sequence: int, fields: dict[str, Any]) -> bytes:
    """Encode one event of the stream; `sequence` is its place, counted from 0."""
    payload = orjson.dumps({"type": kind, "sequence_number": sequence, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), payload)


@lru_cache(maxsize=256)
def render_items(response: Response) -> Rendered:
    """Render the events of every item of a response, in order."""
    tape = _Tape()
    output: list[dict[str, Any]] = []
    last = len(response.items) - 1
    for index, item in enumerate(response.items):
        is_cut = response.incomplete is not None and index == last
        status = "incomplete" if is_cut else "completed"
        output.append(_RENDER[type(item)](_Place(tape, index, status), item))
    reasoning = sum(
        len(item.summary_deltas) + len(item.text_deltas)
        for item in response.items
        if isinstance(item, Reasoning)
    )
    deltas = sum(frame.is_delta for frame in tape.frames)
    return Rendered(tuple(tape.frames), orjson.dumps(output), deltas - reasoning, reasoning)


class _Tape:
    """The frames so far; numbers them."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def add(self, kind: str, fields: dict[str, Any], *, is_delta: bool = False) -> None:
        sequence = FIRST_ITEM_EVENT + len(self.frames)
        self.frames.append(Frame(encode_event(kind, sequence, fields), is_delta))

    def add_deltas(self, kind: str, fields: dict[str, Any], deltas: Iterable[str]) -> None:
        """Encode the part that all deltas share once: a benchmark asks for tens of thousands."""
        name = kind.encode()
        shared = orjson.dumps(fields)[1:-1]
        head = b'event: %b\ndata: {"type":"%b",%b,"sequence_number":' % (name, name, shared)
        start = FIRST_ITEM_EVENT + len(self.frames)
        self.frames.extend(
            Frame(b'%b%d,"delta":%b}\n\n' % (head, sequence, orjson.dumps(delta)), is_delta=True)
            for sequence, delta in enumerate(deltas, start)
        )


class _Place:
    """Where an item's events go: the tape, its output index, the status it ends in."""

    def __init__(self, tape: _Tape, index: int, status: str) -> None:
        self.tape = tape
        self.index = index
        self.status = status

    def item_id(self, prefix: str) -> str:
        return f"{prefix}_{NONCE}{self.index:04d}"

    def added(self, item: dict[str, Any]) -> None:
        self.tape.add("response.output_item.added", {"output_index": self.index, "item": item})

    def done(self, item: dict[str, Any]) -> dict[str, Any]:
        self.tape.add("response.output_item.done", {"output_index": self.index, "item": item})
        return item


def _message(place: _Place, item: Message) -> dict[str, Any]:
    identity = {"id": place.item_id("msg"), "type": "message", "role": "assistant"}
    if item.phase is not None:
        identity["phase"] = item.phase
    place.added({**identity, "status": "in_progress", "content": []})
    content: list[dict[str, Any]] = []
    if item.deltas or item.unsent or item.refusal is None:
        _text_part(place, identity["id"], content, item)
    if item.refusal is not None:
        _refusal_part(place, identity["id"], content, item.refusal)
    return place.done({**identity, "status": place.status, "content": content})


def _text_part(place: _Place, item_id: str, content: list[dict[str, Any]], item: Message) -> None:
    where = {"item_id": item_id, "output_index": place.index, "content_index": len(content)}
    text = "".join(item.deltas) + item.unsent
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    tape = place.tape
    tape.add("response.content_part.added", {**where, "part": {**part, "text": ""}})
    tape.add_deltas("response.output_text.delta", {**where, "logprobs": []}, item.deltas)
    tape.add("response.output_text.done", {**where, "text": text, "logprobs": []})
    tape.add("response.content_part.done", {**where, "part": part})
    content.append(part)


def _refusal_part(place: _Place, item_id: str, content: list[dict[str, Any]], refusal: str) -> None:
    where = {"item_id": item_id, "output_index": place.index, "content_index": len(content)}
    part = {"type": "refusal", "refusal": refusal}
    tape = place.tape
    tape.add("response.content_part.added", {**where, "part": {**part, "refusal": ""}})
    tape.add_deltas("response.refusal.delta", where, [refusal] if refusal else [])
    tape.add("response.refusal.done", {**where, "refusal": refusal})
    tape.add("response.content_part.done", {**where, "part": part})
    content.append(part)


def _reasoning(place: _Place, item: Reasoning) -> dict[str, Any]:
    identity = {"id": place.item_id("rs"), "type": "reasoning"}
    where = {"item_id": identity["id"], "output_index": place.index}
    place.added({**identity, "summary": [], "content": [], "encrypted_content": None})
    summary, content = [], []
    tape = place.tape
    if item.summary_deltas or item.unsent:
        part = {"type": "summary_text", "text": "".join(item.summary_deltas) + item.unsent}
        inside = {**where, "summary_index": 0}
        tape.add("response.reasoning_summary_part.added", {**inside, "part": {**part, "text": ""}})
        tape.add_deltas("response.reasoning_summary_text.delta", inside, item.summary_deltas)
        tape.add("response.reasoning_summary_text.done", {**inside, "text": part["text"]})
        tape.add("response.reasoning_summary_part.done", {**inside, "part": part})
        summary.append(part)
    if item.text_deltas:
        raw = {"type": "reasoning_text", "text": "".join(item.text_deltas)}
        inside = {**where, "content_index": 0}
        tape.add_deltas("response.reasoning_text.delta", inside, item.text_deltas)
        tape.add("response.reasoning_text.done", {**inside, "text": raw["text"]})
        content.append(raw)
    return place.done(
        {
            **identity,
            "summary": summary,
            "content": content,
            "encrypted_content": item.encrypted_content
            if item.sealed is None
            else seal(item.sealed, identity["id"]),
        }
    )


def _function_call(place: _Place, item: FunctionCall) -> dict[str, Any]:
    # 40 characters, the most that OpenAI's chat API takes back.
    call_id = f"call_{NONCE}{place.index:03d}" if item.call_id is None else item.call_id
    identity = {
        "id": place.item_id("fc"),
        "type": "function_call",
        "call_id": call_id,
        "name": item.name,
    }
    where = {"item_id": identity["id"], "output_index": place.index}
    size = max(1, -(-len(item.arguments) // item.argument_chunks))
    chunks = [item.arguments[at : at + size] for at in range(0, len(item.arguments), size)]
    place.added({**identity, "status": "in_progress", "arguments": ""})
    place.tape.add_deltas("response.function_call_arguments.delta", where, chunks)
    place.tape.add(
        "response.function_call_arguments.done",
        {**where, "name": item.name, "arguments": item.arguments},
    )
    return place.done({**identity, "status": place.status, "arguments": item.arguments})


def _raw(place: _Place, item: RawItem) -> dict[str, Any]:
    output: dict[str, Any] = {"id": place.item_id("item"), **orjson.loads(item.encoded)}
    place.added(output)
    return place.done(output)


_RENDER: dict[type[Item], Callable[[_Place, Any], dict[str, Any]]] = {
    Message: _message,
    Reasoning: _reasoning,
    FunctionCall: _function_call,
    RawItem: _raw,
}
