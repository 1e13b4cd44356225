"""Answers for the tests of this folder: chunks of every grammar-conforming kind, and OpenAI's own types for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from app.answers.chunks import (
    Began,
    CallArguments,
    CallBegan,
    Cause,
    Chunk,
    Cost,
    Ended,
    ItemBegan,
    ItemEnded,
    ItemKind,
    ReasoningText,
    Refusal,
    Rerouted,
    Restarted,
    Text,
    Working,
)
from app.answers.summary import Summary
from app.api.responses.request import ResponseRequest, parse_body, to_request
from app.api.responses.resource import Heading
from app.api.responses.wire import ResponsesWire
from app.backend.events import Usage

Json = dict[str, Any]

USAGE = Usage(
    input=50, cached_input=40, output=9, reasoning_output=3, total=59, cache_write_input=2
)
SUMMARY = Summary(
    thread_id="thr",
    turn_id="trn",
    generation=1,
    model="m",
    effort="low",
    ignored_parameters=("top_p",),
    upstream="demo",
    ttft_ms=7,
    duration_ms=2009,
    usage=USAGE,
    usage_estimated=False,
    cause=Cause.FINISHED,
)
TOOLS: list[Json] = [
    {"type": "function", "name": "f", "strict": None},
    {"type": "custom", "name": "p", "format": {"type": "text"}},
    {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]},
    {"type": "namespace", "name": "m", "tools": [{"type": "custom", "name": "h"}]},
]
EVENTS: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
OF_OURS = {"codex_metadata", "frequency_penalty", "presence_penalty", "store"}
"""Members that the API reference has, or that are this gateway's own; the package's types do not know them."""


def request(**members: Any) -> ResponseRequest:
    return to_request(parse_body({"model": "m", "input": "hi", "tools": TOOLS, **members}))


def heading(**members: Any) -> Heading:
    return Heading("resp_1", 1_700_000_000, "m", request(**members), "low")


def wire(**members: Any) -> ResponsesWire:
    return ResponsesWire(heading(**members), request(**members))


def rendered(made: ResponsesWire, batches: Iterable[list[Chunk]]) -> list[Json]:
    """The events of a stream, each held against OpenAI's type, and their numbers against one another."""
    events = []
    for batch in batches:
        for name, data in made.payloads(batch, lambda: SUMMARY):
            event = json.loads(data)
            assert event["type"] == name
            strict(EVENTS, event)
            events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def whole(made: ResponsesWire, chunks: list[Chunk]) -> Json:
    response: Json = json.loads(json.dumps(made.whole(chunks, SUMMARY)))
    strict(TypeAdapter(Response), response)
    return response


def strict(kind: TypeAdapter[Any], value: Json) -> None:
    """Hold a value against a type: nothing is converted, nothing is left out, nothing is there that nobody knows."""
    look_through(kind.validate_python(value, strict=True))


def look_through(model: Any) -> None:
    if isinstance(model, list):
        for entry in model:
            look_through(entry)
    if isinstance(model, BaseModel):
        more = {"status"} if getattr(model, "type", "") == "custom_tool_call" else set()
        assert set(model.model_extra or ()) <= OF_OURS | more, model
        for name in type(model).model_fields:
            look_through(getattr(model, name))


# Pieces of answers


def thought(*texts: str, item_id: str = "rs_1", **more: Any) -> list[Chunk]:
    pieces = (ReasoningText(0, text, f"{n}", is_summary=True) for n, text in enumerate(texts))
    raw = {"type": "reasoning", "id": item_id, **more}
    return [ItemBegan(0, ItemKind.REASONING, item_id), *pieces, ItemEnded(0, raw)]


def said(*texts: str, item_id: str = "msg_1", phase: str | None = None) -> list[Chunk]:
    pieces = (Text(0, text) for text in texts)
    return [ItemBegan(0, ItemKind.MESSAGE, item_id, phase), *pieces, ItemEnded(0, {})]


def refused(text: str) -> list[Chunk]:
    return [ItemBegan(0, ItemKind.MESSAGE), Refusal(0, text), ItemEnded(0, {})]


def called(name: str = "f", *pieces: str, call_id: str = "call_1") -> list[Chunk]:
    arguments = (CallArguments(0, text) for text in pieces)
    return [CallBegan(0, call_id, name), *arguments, ItemEnded(0, {})]


def answer(*parts: list[Chunk], cause: Cause = Cause.FINISHED) -> list[Chunk]:
    inner = [chunk for part in parts for chunk in part]
    return [Began(0), *inner, Ended(0, cause), Cost(USAGE)]


# Any answer


def _with_own_ids(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The calls of one answer have ids of their own."""
    for place, chunk in enumerate(chunks):
        if isinstance(chunk, CallBegan):
            yield CallBegan(0, f"call_{place}", chunk.name)
        else:
            yield chunk


_words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_raws = st.none() | st.fixed_dictionaries(
    {"id": st.sampled_from(["rs_1", "rs_2", "msg_1"])},
    optional={"encrypted_content": st.just("sealed"), "summary": st.just([])},
)
_thoughts = st.builds(
    lambda item_id, pieces, raw: [
        ItemBegan(0, ItemKind.REASONING, item_id),
        *pieces,
        ItemEnded(0, raw),
    ],
    st.sampled_from(["", "rs_1", "rs_2", "msg_1"]),
    st.lists(
        st.builds(
            ReasoningText, st.just(0), _words, st.sampled_from(["", "0", "1"]), st.booleans()
        ),
        max_size=4,
    ),
    _raws,
)
_messages = st.builds(
    lambda item_id, phase, pieces, raw: [
        ItemBegan(0, ItemKind.MESSAGE, item_id, phase),
        *pieces,
        ItemEnded(0, raw),
    ],
    st.sampled_from(["", "msg_1", "msg_2", "rs_1"]),
    st.sampled_from([None, "commentary", "final_answer"]),
    st.lists(
        st.builds(Text, st.just(0), _words) | st.builds(Refusal, st.just(0), _words), max_size=4
    ),
    _raws,
)
_calls = st.builds(
    lambda name, pieces: called(name, *pieces),
    st.sampled_from(["f", "p", "n__g", "m__h", "made_up"]),
    st.lists(_words | st.just('{"input":"x"}'), max_size=3),
)
_parts = st.lists(
    _thoughts | _messages | _calls | st.just([Working(0)]) | st.just([Rerouted(0, "other")]),
    max_size=6,
).map(lambda parts: [*_with_own_ids(chunk for part in parts for chunk in part)])
any_answer = st.builds(
    lambda parts, cause: [Began(0), *parts, Ended(0, cause), Cost(USAGE)],
    _parts,
    st.sampled_from(Cause),
)
unseen = st.lists(
    st.just([Working(0)])
    | st.just([ItemBegan(0, ItemKind.MESSAGE, "msg_1"), ItemEnded(0, {"id": "msg_1"})])
    | st.just([ItemBegan(0, ItemKind.REASONING, "rs_1"), ItemEnded(0, {"id": "rs_1"})])
    | st.just([ItemBegan(0, ItemKind.MESSAGE, "msg_1")]),
    max_size=2,
).map(lambda parts: [*(chunk for part in parts for chunk in part), Restarted(0)])
"""What another try takes back: it may be anything that a client has not seen."""
