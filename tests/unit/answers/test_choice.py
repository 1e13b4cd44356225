"""Transcripts of a choice: codex's events in, chunks out."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.choice import Choice, RetryWithInstruction
from app.answers.chunks import (
    CallArguments,
    CallBegan,
    Cause,
    Chunk,
    Ended,
    ItemBegan,
    ItemEnded,
    ItemKind,
    ReasoningText,
    Refusal,
    Text,
    Working,
)
from app.answers.constraints import AnswerConstraints
from app.answers.output_format import Accepted, Problem
from app.answers.tools import alias_of, names_by_alias
from app.api.output_formats import parse_format
from app.backend.events import (
    Event,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    Retrying,
    TextDelta,
    TurnEnded,
    TurnFailure,
    TurnStatus,
    Usage,
    UsageUpdated,
)
from app.errors import GatewayError, UpstreamBrokeOff, UpstreamError, UpstreamOverloaded

INDEX = 3
USAGE = Usage(input=50, cached_input=40, output=9, reasoning_output=3, total=59)
SILENT = Usage(input=50, cached_input=0, output=3, reasoning_output=3, total=53)
DONE = TurnEnded(TurnStatus.COMPLETED)
RESPONSE = ResponseCompleted(USAGE)
TOOLS = AnswerConstraints(offers_tools=True, names=names_by_alias(["f", "g", "functions.exec"]))


def said(text: str) -> TextDelta:
    return TextDelta("itm", text)


def failed(message: str, kind: str = "other") -> TurnEnded:
    return TurnEnded(TurnStatus.FAILED, TurnFailure(message, kind))


def incomplete(reason: str) -> TurnEnded:
    return failed(f"Incomplete response returned, reason: {reason}")


def call(
    name: Any = "f", call_id: Any = "c1", arguments: Any = '{"a": 1}', **members: Any
) -> RawItem:
    item = {"type": "function_call", "name": name, "call_id": call_id, "arguments": arguments}
    return RawItem({**item, **members})


def message(*parts: Any) -> RawItem:
    return RawItem({"type": "message", "role": "assistant", "content": list(parts)})


def refused(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}


def run(rules: AnswerConstraints, *events: Event) -> tuple[list[Chunk], Choice]:
    choice = Choice(INDEX, rules)
    return shown(chunk for event in events for chunk in choice.feed(event)), choice


def shown(chunks: Iterable[Chunk]) -> list[Chunk]:
    """What is said, without the bounds of items."""
    return [chunk for chunk in chunks if not isinstance(chunk, ItemBegan | ItemEnded | Working)]


def content(text: str) -> Text:
    return Text(INDEX, text)


def finish(cause: Cause) -> Ended:
    return Ended(INDEX, cause)


def called(name: str = "f", call_id: str = "c1", arguments: str = '{"a": 1}') -> list[Chunk]:
    return [CallBegan(INDEX, call_id, name), CallArguments(INDEX, arguments)]


Transcript = tuple[str, AnswerConstraints, list[Event], list[Chunk]]

ANY_ARGUMENTS: list[Transcript] = [
    (
        f"arguments {arguments!r}",
        TOOLS,
        [call(arguments=arguments), RESPONSE],
        [*called(arguments=arguments), finish(Cause.CALLS)],
    )
    for arguments in ("", "{broken", "[1]", "null", ' {"a" :1}\n', '{"a":"\\u00e9"}')
]

TRANSCRIPTS: list[Transcript] = [
    (
        "text",
        AnswerConstraints(),
        [said("hel"), said("lo"), DONE],
        [content("hel"), content("lo"), finish(Cause.FINISHED)],
    ),
    ("nothing", AnswerConstraints(), [DONE], [finish(Cause.FINISHED)]),
    (
        "only spaces",
        AnswerConstraints(),
        [said(" "), said("\n"), DONE],
        [content(" "), content("\n"), finish(Cause.FINISHED)],
    ),
    (
        "no news for the client",
        AnswerConstraints(),
        [UsageUpdated(SILENT), RESPONSE, RawItem({}), RawItem({"type": "message"}), DONE],
        [finish(Cause.FINISHED)],
    ),
    # Reasoning
    (
        "reasoning hidden",
        AnswerConstraints(),
        [ReasoningDelta("hm"), said("a"), DONE],
        [content("a"), finish(Cause.FINISHED)],
    ),
    (
        "reasoning shown",
        AnswerConstraints(shows_reasoning=True),
        [ReasoningDelta("h"), ReasoningDelta("m"), said("a"), DONE],
        [
            ReasoningText(INDEX, "h"),
            ReasoningText(INDEX, "m"),
            content("a"),
            finish(Cause.FINISHED),
        ],
    ),
    # Stops
    (
        "a stop in a delta",
        AnswerConstraints(stops=("E",)),
        [said("abEcd")],
        [content("ab"), finish(Cause.STOP_SEQUENCE)],
    ),
    (
        "a stop across deltas",
        AnswerConstraints(stops=("END",)),
        [said("aE"), said("N"), said("Dz")],
        [content("a"), finish(Cause.STOP_SEQUENCE)],
    ),
    (
        "what looked like a stop and was none",
        AnswerConstraints(stops=("END",)),
        [said("aE"), said("Nx"), said("E"), DONE],
        [content("a"), content("ENx"), content("E"), finish(Cause.FINISHED)],
    ),
    (
        "a stop at once",
        AnswerConstraints(stops=("a",)),
        [said("abc")],
        [finish(Cause.STOP_SEQUENCE)],
    ),
    (
        "the first of two stops",
        AnswerConstraints(stops=("d", "b")),
        [said("abcd")],
        [content("a"), finish(Cause.STOP_SEQUENCE)],
    ),
    (
        "what was held back before a failure that is none",
        AnswerConstraints(stops=("END",)),
        [said("aEN"), incomplete("max_output_tokens")],
        [content("a"), content("EN"), finish(Cause.TOKEN_LIMIT)],
    ),
    # max_tokens
    (
        "as many deltas as tokens are not too many",
        AnswerConstraints(max_tokens=2),
        [said("a"), said("b"), DONE],
        [content("a"), content("b"), finish(Cause.FINISHED)],
    ),
    (
        "one delta more is",
        AnswerConstraints(max_tokens=2),
        [said("a"), said("b"), said("c")],
        [content("a"), content("b"), finish(Cause.TOKEN_LIMIT)],
    ),
    (
        "what was held back counts and comes out",
        AnswerConstraints(max_tokens=2, stops=("bcd",)),
        [said("a"), said("b"), said("c")],
        [content("a"), content("b"), finish(Cause.TOKEN_LIMIT)],
    ),
    (
        "a stop in the last delta is a stop",
        AnswerConstraints(max_tokens=2, stops=("b",)),
        [said("a"), said("b")],
        [content("a"), finish(Cause.STOP_SEQUENCE)],
    ),
    (
        "reasoning and calls are no text",
        AnswerConstraints(max_tokens=1, offers_tools=True, shows_reasoning=True),
        [ReasoningDelta("x"), ReasoningDelta("y"), said("a"), call(), RESPONSE],
        [
            ReasoningText(INDEX, "x"),
            ReasoningText(INDEX, "y"),
            content("a"),
            *called(),
            finish(Cause.CALLS),
        ],
    ),
    # Calls
    ("a call", TOOLS, [call(), RESPONSE], [*called(), finish(Cause.CALLS)]),
    (
        "parallel calls",
        TOOLS,
        [call("f", "a"), call("g", "b"), call("f", "c"), RESPONSE],
        [
            *called("f", "a"),
            *called("g", "b"),
            *called("f", "c"),
            finish(Cause.CALLS),
        ],
    ),
    (
        "a call after text",
        TOOLS,
        [said("look"), call(), RESPONSE],
        [content("look"), *called(), finish(Cause.CALLS)],
    ),
    (
        "what was held back comes before the call",
        AnswerConstraints(offers_tools=True, stops=("END",)),
        [said("aEN"), call(), RESPONSE],
        [content("a"), content("EN"), *called(), finish(Cause.CALLS)],
    ),
    (
        "one call at a time",
        AnswerConstraints(offers_tools=True, parallel_calls=False),
        [call("f", "a")],
        [*called("f", "a"), finish(Cause.CALLS)],
    ),
    (
        "by the name that the client gave it",
        TOOLS,
        [call(alias_of("functions.exec")), RESPONSE],
        [*called("functions.exec"), finish(Cause.CALLS)],
    ),
    (
        "a name that nobody offered",
        TOOLS,
        [call("nope"), RESPONSE],
        [*called("nope"), finish(Cause.CALLS)],
    ),
    *ANY_ARGUMENTS,
    (
        "a response without a call ends nothing",
        TOOLS,
        [said("a"), RESPONSE, said("b"), DONE],
        [content("a"), content("b"), finish(Cause.FINISHED)],
    ),
    (
        "calls of tools that nobody offered are codex's to answer",
        AnswerConstraints(),
        [call("shell"), RESPONSE, said("a"), DONE],
        [content("a"), finish(Cause.FINISHED)],
    ),
    (
        "other items are not shown",
        TOOLS,
        [RawItem({"type": "web_search_call"}), DONE],
        [finish(Cause.FINISHED)],
    ),
    # A required call
    (
        "text is held until the call",
        AnswerConstraints(offers_tools=True, requires_tool=True),
        [said("let me "), said("see"), call(), RESPONSE],
        [content("let me "), content("see"), *called(), finish(Cause.CALLS)],
    ),
    (
        "the limit is the limit",
        AnswerConstraints(offers_tools=True, requires_tool=True, max_tokens=1),
        [said("a"), said("b")],
        [content("a"), finish(Cause.TOKEN_LIMIT)],
    ),
    # Refusals
    (
        "a refusal",
        AnswerConstraints(),
        [message(refused("I "), refused("won't.")), DONE],
        [Refusal(INDEX, "I "), Refusal(INDEX, "won't."), finish(Cause.FINISHED)],
    ),
    (
        "a refusal after text",
        AnswerConstraints(),
        [said("a"), message({"type": "output_text", "text": "a"}, refused("no")), DONE],
        [content("a"), Refusal(INDEX, "no"), finish(Cause.FINISHED)],
    ),
    (
        "a refusal misses no call",
        AnswerConstraints(offers_tools=True, requires_tool=True),
        [message(refused("no")), DONE],
        [Refusal(INDEX, "no"), finish(Cause.FINISHED)],
    ),
    (
        "a refusal is no JSON and need not be",
        AnswerConstraints(output=parse_format({"type": "json_object"}), can_check=True),
        [said("x"), message(refused("no")), DONE],
        [content("x"), Refusal(INDEX, "no"), finish(Cause.FINISHED)],
    ),
    (
        "parts that are none",
        AnswerConstraints(),
        [said("a"), message(None, "x", {}, {"type": "output_text"}), DONE],
        [content("a"), finish(Cause.FINISHED)],
    ),
    (
        "content that is none",
        AnswerConstraints(),
        [RawItem({"type": "message", "content": "x"}), DONE],
        [finish(Cause.FINISHED)],
    ),
    # JSON
    (
        "JSON that was checked comes in the pieces that it came in",
        AnswerConstraints(output=parse_format({"type": "json_object"}), can_check=True),
        [said('{"a"'), said(": 1}"), DONE],
        [content('{"a"'), content(": 1}"), finish(Cause.FINISHED)],
    ),
    (
        "JSON in a fence is taken out of it",
        AnswerConstraints(output=parse_format({"type": "json_object"}), can_check=True),
        [said("Sure: ```json\n{"), said('"a": 1}\n'), said("```"), message(), DONE],
        [content('{"a": 1}'), finish(Cause.FINISHED)],
    ),
    (
        "JSON that is not checked goes out at once",
        AnswerConstraints(output=parse_format({"type": "json_object"})),
        [said("no JSON"), DONE],
        [content("no JSON"), finish(Cause.FINISHED)],
    ),
    (
        "JSON that was cut off is not checked",
        AnswerConstraints(output=parse_format({"type": "json_object"}), can_check=True),
        [said('{"a"'), incomplete("max_output_tokens")],
        [content('{"a"'), finish(Cause.TOKEN_LIMIT)],
    ),
    # Ends
    (
        "too long",
        AnswerConstraints(),
        [said("a"), incomplete("max_output_tokens")],
        [content("a"), finish(Cause.TOKEN_LIMIT)],
    ),
    (
        "filtered",
        AnswerConstraints(),
        [said("a"), incomplete("content_filter")],
        [content("a"), finish(Cause.CONTENT_FILTER)],
    ),
]


@pytest.mark.parametrize(
    ("rules", "events", "chunks"),
    [row[1:] for row in TRANSCRIPTS],
    ids=[row[0] for row in TRANSCRIPTS],
)
def test_a_transcript(rules: AnswerConstraints, events: list[Event], chunks: list[Chunk]) -> None:
    made, choice = run(rules, *events)
    assert made == chunks
    end = chunks[-1]
    assert isinstance(end, Ended)
    assert (choice.is_complete, choice.cause) == (True, end.cause)
    assert choice.usage is not None
    # Whatever still comes, it is over.
    for late in (said("z"), call("f", "late"), RESPONSE, message(refused("no")), failed("x"), DONE):
        assert choice.feed(late) == []
    assert choice.cause == end.cause
    assert "late" not in choice.call_ids


@pytest.mark.parametrize(
    ("rules", "events"),
    [(row[1], row[2]) for row in TRANSCRIPTS],
    ids=[row[0] for row in TRANSCRIPTS],
)
def test_it_is_complete_at_its_last_event_and_not_before(
    rules: AnswerConstraints, events: list[Event]
) -> None:
    choice = Choice(INDEX, rules)
    for event in events[:-1]:
        choice.feed(event)
        assert (choice.is_complete, choice.cause) == (False, None)
    choice.feed(events[-1])
    assert choice.is_complete


# The bounds of items


@pytest.mark.parametrize(
    ("rules", "events"),
    [(row[1], row[2]) for row in TRANSCRIPTS],
    ids=[row[0] for row in TRANSCRIPTS],
)
def test_items_begin_and_end_one_after_another(
    rules: AnswerConstraints, events: list[Event]
) -> None:
    choice, is_open = Choice(INDEX, rules), False
    for chunk in [chunk for event in events for chunk in choice.feed(event)]:
        match chunk:
            case ItemBegan() | CallBegan():
                assert not is_open
                is_open = True
            case ItemEnded():
                assert is_open
                is_open = False
            case Text() | Refusal() | ReasoningText() | CallArguments():
                assert is_open
            case Ended():
                assert not is_open


def test_an_item_is_told_whole_where_the_upstream_told_it() -> None:
    thought = {"type": "reasoning", "summary": [], "encrypted_content": "opaque"}
    whole = {"type": "message", "role": "assistant", "content": []}
    choice = Choice(INDEX, AnswerConstraints(offers_tools=True, shows_reasoning=True))
    events: list[Event] = [
        *(ReasoningDelta("h"), RawItem(thought)),
        *(said("a"), RawItem(whole), call(), said("b")),
    ]
    assert [chunk for event in events for chunk in choice.feed(event)] == [
        ItemBegan(INDEX, ItemKind.REASONING),
        ReasoningText(INDEX, "h"),
        ItemEnded(INDEX, thought),
        ItemBegan(INDEX, ItemKind.MESSAGE, "itm"),
        content("a"),
        ItemEnded(INDEX, whole),
        *called(),
        ItemEnded(INDEX, call().item),
        ItemBegan(INDEX, ItemKind.MESSAGE, "itm"),
        content("b"),
    ]


@pytest.mark.parametrize(
    ("rules", "event"),
    [
        (AnswerConstraints(), ReasoningDelta("h")),
        (AnswerConstraints(), RawItem({"type": "reasoning"})),
        (AnswerConstraints(), call()),
        (AnswerConstraints(offers_tools=True, requires_tool=True), said("a")),
    ],
)
def test_what_is_not_shown_is_work_all_the_same(rules: AnswerConstraints, event: Event) -> None:
    assert set(Choice(INDEX, rules).feed(event)) == {Working(INDEX)}


# What was asked for and not done

REQUIRED = AnswerConstraints(offers_tools=True, requires_tool=True)


def test_the_check_of_an_answer_runs_where_it_is_told_to() -> None:
    checked: list[str] = []

    def run(function: Callable[[str], Accepted | Problem], text: str) -> Accepted | Problem:
        checked.append(text)
        return function(text)

    choice = Choice(0, OBJECT, run)
    choice.feed(TextDelta("i", "{"))
    choice.feed(TextDelta("i", "}"))
    assert checked == []
    choice.feed(TurnEnded(TurnStatus.COMPLETED))
    assert checked == ["{}"]


OBJECT = AnswerConstraints(output=parse_format({"type": "json_object"}), can_check=True)
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": True,
}
BY_SCHEMA = AnswerConstraints(
    output=parse_format({"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}),
    can_check=True,
)

MISSES: list[tuple[AnswerConstraints, str, str]] = [
    (REQUIRED, "I will not.", "You must call one of the functions now"),
    (REQUIRED, "", "You must call one of the functions now"),
    (OBJECT, "hello", "it is not valid JSON"),
    (OBJECT, "", "it is not valid JSON"),
    (OBJECT, "[]", "it is not a JSON object"),
    (BY_SCHEMA, "{}", "'a' is a required property"),
    (BY_SCHEMA, '{"a": 1}', "at $.a: "),
]


@pytest.mark.parametrize(("rules", "answer", "words"), MISSES)
def test_a_missed_task_is_asked_for_once_more_and_then_given_up(
    rules: AnswerConstraints, answer: str, words: str
) -> None:
    choice = Choice(INDEX, rules)
    for _ in range(2):
        assert [shown(choice.feed(said(piece))) for piece in answer] == [[]] * len(answer)
        assert not choice.is_complete
        with pytest.raises((RetryWithInstruction, UpstreamError)) as raised:
            choice.feed(DONE)
        if isinstance(raised.value, RetryWithInstruction):
            assert words in raised.value.instruction
    assert isinstance(raised.value, UpstreamError)
    assert not choice.is_complete


@pytest.mark.parametrize(
    ("rules", "wrong", "right", "chunks"),
    [
        (
            REQUIRED,
            [said("no"), DONE],
            [said("b"), call(), RESPONSE],
            [content("b"), *called(), finish(Cause.CALLS)],
        ),
        (
            OBJECT,
            [said("no"), DONE],
            [said("{"), said("}"), DONE],
            [content("{"), content("}"), finish(Cause.FINISHED)],
        ),
        (
            BY_SCHEMA,
            [said("{}"), DONE],
            [said('{"a":"b"}'), DONE],
            [content('{"a":"b"}'), finish(Cause.FINISHED)],
        ),
        (
            OBJECT,
            [said("no"), DONE],
            [message(refused("no")), DONE],
            [Refusal(INDEX, "no"), finish(Cause.FINISHED)],
        ),
    ],
)
def test_of_the_first_try_nothing_is_left(
    rules: AnswerConstraints, wrong: list[Event], right: list[Event], chunks: list[Chunk]
) -> None:
    choice = Choice(INDEX, rules)
    for event in wrong[:-1]:
        assert shown(choice.feed(event)) == []
    with pytest.raises(RetryWithInstruction):
        choice.feed(wrong[-1])
    assert shown(chunk for event in right for chunk in choice.feed(event)) == chunks
    assert choice.is_complete


def test_the_deltas_of_the_first_try_do_not_count_for_the_second() -> None:
    rules = AnswerConstraints(output=OBJECT.output, can_check=True, max_tokens=2, stops=("END",))
    choice = Choice(INDEX, rules)
    choice.feed(said("a"))
    choice.feed(said("bEN"))
    with pytest.raises(RetryWithInstruction):
        choice.feed(DONE)
    chunks = shown(chunk for e in (said("{"), said("}"), DONE) for chunk in choice.feed(e))
    assert chunks == [content("{"), content("}"), finish(Cause.FINISHED)]


# Ends that are failures


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (TurnEnded(TurnStatus.INTERRUPTED), UpstreamError),
        (failed("m", "serverOverloaded"), UpstreamOverloaded),
        (incomplete("brand_new"), UpstreamError),
    ],
)
@pytest.mark.parametrize("rules", [AnswerConstraints(), TOOLS, REQUIRED, OBJECT])
def test_a_failed_end_is_raised(
    ended: TurnEnded, expected: type[GatewayError], rules: AnswerConstraints
) -> None:
    choice = Choice(INDEX, rules)
    choice.feed(said("a"))
    with pytest.raises(expected):
        choice.feed(ended)
    assert (choice.is_complete, choice.cause) == (False, None)


def test_a_refusal_whose_words_codex_kept_to_itself_is_said_to_be_one() -> None:
    chunks, choice = run(AnswerConstraints(), UsageUpdated(USAGE), DONE)
    (refusal, end) = chunks
    assert isinstance(refusal, Refusal)
    assert refusal.text.startswith("The model gave no answer.")
    assert end == finish(Cause.FINISHED)
    assert choice.is_complete


@pytest.mark.parametrize(
    "events",
    [
        [UsageUpdated(SILENT), DONE],  # it only reasoned
        [said(""), UsageUpdated(USAGE), DONE],
        [message(refused("no")), UsageUpdated(USAGE), DONE],
        [UsageUpdated(USAGE), incomplete("content_filter")],
    ],
)
def test_no_refusal_is_made_up(events: list[Event]) -> None:
    chunks, _ = run(AnswerConstraints(), *events)
    assert [c for c in chunks if isinstance(c, Refusal)] in ([], [Refusal(INDEX, "no")])


def test_a_retry_is_for_the_turn_to_end() -> None:
    assert run(AnswerConstraints(), Retrying(TurnFailure("m")))[0] == []


# What it cost


@pytest.mark.parametrize(
    ("rules", "events", "usage", "is_estimated"),
    [
        (AnswerConstraints(), [said("a"), UsageUpdated(USAGE), DONE], USAGE, False),
        (
            AnswerConstraints(),
            [UsageUpdated(Usage(1, 1, 1, 1, 1)), UsageUpdated(USAGE), DONE],
            USAGE,
            False,
        ),
        (TOOLS, [call(), RESPONSE], USAGE, False),
        (
            AnswerConstraints(),
            [said("a"), UsageUpdated(USAGE), incomplete("max_output_tokens")],
            USAGE,
            False,
        ),
        (
            AnswerConstraints(stops=("c",), prompt_tokens=7),
            [said("a"), said("b"), said("c")],
            Usage(7, 0, 3, 0, 10),
            True,
        ),
        (
            AnswerConstraints(max_tokens=1, prompt_tokens=7),
            [said("a"), said("b")],
            Usage(7, 0, 1, 0, 8),
            True,
        ),
        (
            AnswerConstraints(offers_tools=True, parallel_calls=False, prompt_tokens=7),
            [said("a"), call()],
            Usage(7, 0, 3, 0, 10),
            True,
        ),
        (
            AnswerConstraints(offers_tools=True, prompt_tokens=7),
            [call(), ResponseCompleted(None)],
            Usage(7, 0, 2, 0, 9),
            True,
        ),
        (AnswerConstraints(prompt_tokens=7), [said("a"), DONE], Usage(7, 0, 1, 0, 8), True),
    ],
)
def test_usage_is_what_codex_reported_or_an_estimate_that_says_so(
    rules: AnswerConstraints, events: list[Event], usage: Usage, *, is_estimated: bool
) -> None:
    _, choice = run(rules, *events)
    assert choice.is_complete
    assert (choice.usage, choice.is_usage_estimated) == (usage, is_estimated)


# What is given back in the next request


def test_what_the_upstream_made_is_kept_where_it_can_be_given_back() -> None:
    kept = {"type": "reasoning", "id": "rs_1", "encrypted_content": "opaque"}
    items = [kept, {"type": "reasoning"}, {"type": "reasoning", "encrypted_content": ""}]
    chunks, choice = run(TOOLS, *map(RawItem, items), call("f", "a"), call("g", "b"), RESPONSE)
    assert choice.items == [*items, call("f", "a").item, call("g", "b").item]
    assert choice.call_ids == ["a", "b"]
    assert len(chunks) == 5


# Whatever the text

PIECES = st.lists(st.sampled_from(["hel", "lo", "l", "", "END", "E", "N", "D", "\n"]), max_size=12)


@given(PIECES)
def test_every_delta_with_text_is_one_chunk_of_the_same_text(pieces: list[str]) -> None:
    chunks, _ = run(AnswerConstraints(), *map(said, pieces), DONE)
    assert chunks == [*(content(piece) for piece in pieces if piece), finish(Cause.FINISHED)]


@given(PIECES, st.integers(1, 14))
def test_max_tokens_never_cuts_early(pieces: list[str], limit: int) -> None:
    chunks, choice = run(AnswerConstraints(max_tokens=limit), *map(said, pieces), DONE)
    kept = pieces[:limit]
    assert chunks[:-1] == [content(piece) for piece in kept if piece]
    assert choice.cause is (Cause.TOKEN_LIMIT if len(pieces) > limit else Cause.FINISHED)


@given(PIECES, st.sampled_from([("END",), ("l", "END"), ("lo\n", "N")]))
def test_a_stop_cuts_the_text_wherever_the_deltas_end(
    pieces: list[str], stops: tuple[str, ...]
) -> None:
    text = "".join(pieces)
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    first = min(ends, default=None)
    begin = None
    if first is not None:
        begin = min(first - len(s) for s in stops if text[:first].endswith(s))
    chunks, choice = run(AnswerConstraints(stops=stops), *map(said, pieces), DONE)
    assert "".join(c.text for c in chunks if isinstance(c, Text)) == text[:begin]
    assert choice.cause is (Cause.FINISHED if begin is None else Cause.STOP_SEQUENCE)


@given(PIECES, st.lists(st.integers(0, 30), max_size=4))
def test_held_text_comes_out_as_it_came(pieces: list[str], cuts: list[int]) -> None:
    text = json.dumps({"a": "".join(pieces)})
    borders = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    deltas = [text[begin:end] for begin, end in pairwise(borders)]
    chunks, _ = run(OBJECT, *map(said, deltas), DONE)
    assert chunks == [*map(content, deltas), finish(Cause.FINISHED)]


def test_the_first_try_counts_in_the_usage_of_the_second() -> None:
    choice = Choice(0, AnswerConstraints(offers_tools=True, requires_tool=True))
    choice.feed(UsageUpdated(Usage(10, 4, 3, 1, 13)))
    with pytest.raises(RetryWithInstruction):
        choice.feed(TurnEnded(TurnStatus.COMPLETED))
    choice.feed(RawItem({"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}))
    choice.feed(ResponseCompleted(Usage(20, 0, 5, 0, 25)))
    assert choice.usage == Usage(30, 4, 8, 1, 38)


# A turn that comes to nothing


def whole_message(text: str) -> RawItem:
    return RawItem({"type": "message", "content": [{"type": "output_text", "text": text}]})


def test_a_message_that_begins_anew_unfinished_has_broken_off() -> None:
    choice = Choice(INDEX, AnswerConstraints())
    assert shown(choice.feed(TextDelta("item-1", "to"))) == [content("to")]
    with pytest.raises(UpstreamBrokeOff):
        choice.feed(TextDelta("item-2", "to"))


def test_a_second_message_after_a_whole_one_is_text_like_any_other() -> None:
    chunks, _ = run(
        AnswerConstraints(),
        TextDelta("item-1", "to"),
        whole_message("to"),
        TextDelta("item-2", "to"),
        whole_message("to"),
    )
    assert chunks == [content("to"), content("to")]


@pytest.mark.parametrize(
    ("second", "said_then", "cause"),
    [
        ("De", [], Cause.STOP_SEQUENCE),
        ("X", [content("ENX")], Cause.FINISHED),
        ("", [content("EN")], Cause.FINISHED),
    ],
)
def test_a_stop_is_found_across_two_messages(
    second: str, said_then: list[Chunk], cause: Cause
) -> None:
    chunks, _ = run(
        AnswerConstraints(stops=("END",)),
        TextDelta("item-1", "aEN"),
        message("aEN"),
        TextDelta("item-2", second),
        message(second),
        DONE,
    )
    assert chunks == [content("a"), *said_then, finish(cause)]


def test_what_is_no_message_is_not_ended_as_one() -> None:
    choice = Choice(INDEX, AnswerConstraints(shows_reasoning=True))
    choice.feed(ReasoningDelta("h"))
    assert choice.feed(message("")) == [Working(INDEX)]
    assert choice.feed(DONE)[0] == ItemEnded(INDEX)


def test_a_choice_that_begins_anew_remembers_nothing_of_its_turn() -> None:
    rules = AnswerConstraints(offers_tools=True, max_tokens=2, stops=("lo",))
    choice = Choice(INDEX, rules)
    call = {"type": "function_call", "name": "f", "call_id": "c1", "arguments": "{}"}
    sealed = {"type": "reasoning", "encrypted_content": "s"}
    for event in (TextDelta("i1", "al"), RawItem(sealed), RawItem(call), UsageUpdated(USAGE)):
        choice.feed(event)
    choice.reset()
    assert (choice.call_ids, choice.items, choice.usage) == ([], [], None)
    assert shown(choice.feed(TextDelta("i2", "o"))) == [content("o")]  # not the stop "lo"
    assert shown(choice.feed(TextDelta("i2", "k"))) == [content("k")]
    assert choice.feed(TextDelta("i2", "!"))[-1] == finish(Cause.TOKEN_LIMIT)
