"""Pieces of text that are fed as runs become what they become one by one: in the same pieces, to the same end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.choice import Choice, RetryWithInstruction
from app.answers.chunks import Cause, Chunk, Ended, ItemBegan, ItemKind, Text, TextPieces, singly
from app.answers.constraints import AnswerConstraints
from app.answers.event_portions import portions
from app.api.output_formats import parse_format
from app.backend.events import (
    Event,
    MessageBegan,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    TextDelta,
    TextRun,
    TurnEnded,
    TurnStatus,
    Usage,
    UsageUpdated,
)
from app.errors import GatewayError

DONE = TurnEnded(TurnStatus.COMPLETED)
OBJECT = parse_format({"type": "json_object"})
SCHEMA = parse_format(
    {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
)
STRICT = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
STRICT_SCHEMA = parse_format(
    {"type": "json_schema", "json_schema": {"name": "x", "schema": STRICT, "strict": True}}
)
RULES = {
    "plain": AnswerConstraints(),
    "one text": AnswerConstraints(
        separator="\n\n", shows_reasoning=True, commentary_is_reasoning=True
    ),
    "max_tokens": AnswerConstraints(max_tokens=4),
    "stop": AnswerConstraints(stops=("END", "lN")),
    "stop and max_tokens": AnswerConstraints(stops=("END",), max_tokens=5),
    "tools": AnswerConstraints(offers_tools=True),
    "a call that is missed at a stop": AnswerConstraints(
        offers_tools=True, requires_tool=True, stops=("END",)
    ),
    "an object": AnswerConstraints(output=OBJECT),
    "an object that is checked": AnswerConstraints(output=OBJECT, can_check=True, stops=("END",)),
    "a schema": AnswerConstraints(output=SCHEMA),
    "a strict schema": AnswerConstraints(output=STRICT_SCHEMA),
}


def group(events: Sequence[Event], cuts: frozenset[int]) -> list[Event]:
    """Put pieces of one message that follow each other into runs, but for those that a cut stands before."""
    grouped: list[Event] = []
    for place, event in enumerate(events):
        last = grouped[-1] if grouped and place not in cuts else None
        if not isinstance(event, TextDelta):
            grouped.append(event)
        elif isinstance(last, TextRun) and last.item_id == event.item_id:
            grouped[-1] = TextRun(event.item_id, [*last.texts, event.text])
        else:
            grouped.append(TextRun(event.item_id, [event.text]))
    return grouped


def answer(rules: AnswerConstraints, events: Sequence[Event]) -> tuple[list[Chunk], Any]:
    """Return the chunks and everything else that a choice makes of events."""
    choice = Choice(0, rules)
    chunks: list[Chunk] = []
    failure = None
    try:
        for portion in portions(events, keeps_runs=choice.takes_runs):
            assert not isinstance(portion, GatewayError)
            for event in portion:
                chunks += choice.feed(event)
    except (RetryWithInstruction, GatewayError) as error:
        failure = f"{type(error).__name__}: {error}"
    return chunks, (failure, choice.cause, choice.usage, choice.items, choice.is_complete)


WORDS = ["hel", "lo", "l", "l", "", "END", "E", "N", "D", "{", "}", "e", "\u0301", "👩", "\u200d"]


@st.composite
def messages(draw: st.DrawFn) -> list[Event]:
    item_id = draw(st.sampled_from(["m1", "m2", "m3"]))
    texts = draw(st.lists(st.sampled_from(WORDS), max_size=9))
    began = MessageBegan(item_id, draw(st.sampled_from([None, "commentary", "final_answer"])))
    text = "".join(texts) + draw(st.sampled_from(["", " rest"]))
    content = [{"type": "output_text", "text": text}]
    whole = RawItem({"type": "message", "id": item_id, "content": content})
    return [
        *([began] if draw(st.booleans()) else []),
        *(TextDelta(item_id, text) for text in texts),
        *([whole] if draw(st.integers(0, 3)) else []),
    ]


OTHERS: list[list[Event]] = [
    [ReasoningDelta("hm", "p", "r")],
    [RawItem({"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"})],
    [UsageUpdated(Usage(1, 0, 2, 0, 3))],
    [ResponseCompleted(Usage(1, 0, 2, 0, 3))],
]
TURNS = st.lists(messages() | st.sampled_from(OTHERS), max_size=5).map(
    lambda parts: [*(event for part in parts for event in part), DONE]
)


@pytest.mark.parametrize("name", RULES)
@given(events=TURNS, cuts=st.frozensets(st.integers(0, 40), max_size=6))
def test_a_turn_that_comes_in_runs_is_answered_as_one_in_pieces(
    name: str, events: list[Event], cuts: frozenset[int]
) -> None:
    chunks, made = answer(RULES[name], events)
    in_runs, made_of_runs = answer(RULES[name], group(events, cuts))
    assert [*singly(in_runs)] == chunks
    assert made_of_runs == made
    for chunk in in_runs:
        if isinstance(chunk, TextPieces):
            assert chunk.text == "".join(chunk.texts)


def test_a_run_is_one_chunk_once_its_message_is_open() -> None:
    runs = [TextRun("m", ["a", "b"]), TextRun("m", ["e", "\u0301", "e"])]
    chunks, _ = answer(AnswerConstraints(), runs)
    assert chunks == [
        ItemBegan(0, ItemKind.MESSAGE, "m"),
        Text(0, "a"),
        Text(0, "b"),
        TextPieces(0, "e\u0301e", ["e", "\u0301", "e"]),
    ]


def test_a_run_within_the_limit_is_one_chunk_and_one_beyond_it_is_cut() -> None:
    runs = [TextRun("m", ["a"]), TextRun("m", ["b", "c"]), TextRun("m", ["d", "e", "f"])]
    chunks, _ = answer(AnswerConstraints(max_tokens=5), runs)
    assert chunks[2:5] == [TextPieces(0, "bc", ["b", "c"]), Text(0, "d"), Text(0, "e")]
    assert chunks[-1] == Ended(0, Cause.TOKEN_LIMIT)


def test_a_stop_sequence_is_found_across_the_pieces_of_a_run() -> None:
    runs = [TextRun("m", ["a"]), TextRun("m", ["b", "E", "N", "D", "c"]), TextRun("m", ["d"])]
    chunks, (_, cause, *_) = answer(AnswerConstraints(stops=("END",)), runs)
    assert [chunk for chunk in chunks if isinstance(chunk, Text)] == [Text(0, "a"), Text(0, "b")]
    assert cause is Cause.STOP_SEQUENCE
