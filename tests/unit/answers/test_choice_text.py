"""Transcripts of messages and reasoning: what a choice says of them."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.choice import Choice
from app.answers.chunks import Cause, Chunk, Ended, ReasoningText, Refusal, Text
from app.answers.constraints import AnswerConstraints
from app.answers.message import Delivered
from app.answers.output_format import JSON_OBJECT, OutputFormat
from app.backend.events import (
    Event,
    MessageBegan,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    TextDelta,
    TurnEnded,
    TurnFailure,
    TurnStatus,
)
from app.errors import UpstreamBrokeOff

DONE = TurnEnded(TurnStatus.COMPLETED)
CHAT = AnswerConstraints(separator="\n\n", shows_reasoning=True)
ASIDE = AnswerConstraints(separator="\n\n", shows_reasoning=True, commentary_is_reasoning=True)
HIDDEN = AnswerConstraints(separator="\n\n", commentary_is_reasoning=True)
STRICT = AnswerConstraints(
    separator="\n\n",
    shows_reasoning=True,
    offers_tools=True,
    output=OutputFormat(strict_schema={"type": "object"}),
)
WHOLE = replace(STRICT, offers_tools=False, can_check=True)
LOOSE = AnswerConstraints(separator="\n\n", shows_reasoning=True, output=JSON_OBJECT)
CHECKED = AnswerConstraints(separator="\n\n", output=JSON_OBJECT, can_check=True)


def began(item_id: str, phase: str | None = None) -> MessageBegan:
    return MessageBegan(item_id, phase)


def whole(item_id: str, text: str, phase: str | None = None) -> RawItem:
    content = [{"type": "output_text", "text": text}]
    item = {"type": "message", "id": item_id, "role": "assistant", "content": content}
    return RawItem({**item, "phase": phase} if phase else item)


def message(item_id: str, *texts: str, phase: str | None = None) -> list[Event]:
    deltas = [TextDelta(item_id, text) for text in texts]
    return [began(item_id, phase), *deltas, whole(item_id, "".join(texts), phase)]


def thought(item_id: str, *summary: str) -> RawItem:
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return RawItem({"type": "reasoning", "id": item_id, "summary": parts})


def call() -> RawItem:
    return RawItem({"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"})


def heard(rules: AnswerConstraints, events: Iterable[Event]) -> tuple[list[str], list[str]]:
    """The texts of the content, and those of the reasoning."""
    choice = Choice(0, rules)
    chunks = [chunk for event in events for chunk in choice.feed(event)]
    assert choice.is_complete
    return spoken(chunks, Text), spoken(chunks, ReasoningText)


def spoken(chunks: list[Chunk], kind: type[Text | ReasoningText | Refusal]) -> list[str]:
    return [chunk.text for chunk in chunks if isinstance(chunk, kind)]


LOOK = message("m1", "Let me ", "look.", phase="commentary")
FOUR = message("m2", "It is ", "four.", phase="final_answer")
JSON = message("m2", '{"a":', " 1}", phase="final_answer")
PLAIN = message("m2", "\n", '{"a":', " 1}")
WORDS = message("m1", "Let me ", "look.")

Row = tuple[str, AnswerConstraints, list[Event], list[str], list[str]]

ROWS: list[Row] = [
    # Several messages
    ("parted", CHAT, [*LOOK, *FOUR], ["Let me ", "look.", "\n\n", "It is ", "four."], []),
    (
        "parted without phases",
        CHAT,
        [*WORDS, *PLAIN],
        ["Let me ", "look.", "\n\n", "\n", '{"a":', " 1}"],
        [],
    ),
    (
        "each in a place of its own",
        AnswerConstraints(),
        [*LOOK, *FOUR],
        ["Let me ", "look.", "It is ", "four."],
        [],
    ),
    (
        "an empty one parts nothing",
        CHAT,
        [*message("m0"), *FOUR, *message("m3")],
        ["It is ", "four."],
        [],
    ),
    ("commentary as reasoning", ASIDE, [*LOOK, *FOUR], ["It is ", "four."], ["Let me ", "look."]),
    ("commentary nowhere", HIDDEN, [*LOOK, *FOUR], ["It is ", "four."], []),
    (
        "a stop between two",
        AnswerConstraints(separator="\n\n", stops=("\n\n",)),
        [*LOOK, *FOUR],
        ["Let me ", "look."],
        [],
    ),
    # A structured answer is the last message alone
    ("strict", STRICT, [*LOOK, *JSON], ['{"a":', " 1}"], ["Let me ", "look."]),
    ("strict, no phases", STRICT, [*WORDS, *PLAIN], ["\n", '{"a":', " 1}"], ["Let me ", "look."]),
    ("loose", LOOSE, [*LOOK, *JSON], ['{"a":', " 1}"], ["Let me ", "look."]),
    ("checked", CHECKED, [*WORDS, *PLAIN], ["\n", '{"a":', " 1}"], []),
    (
        "whole, with words that begin like JSON",
        WHOLE,
        [*message("m1", "`a` ", "is [1]."), *PLAIN],
        ["\n", '{"a":', " 1}"],
        ["`a` ", "is [1]."],
    ),
    (
        "checked, with words that begin like JSON",
        CHECKED,
        [*message("m1", "[1] says so."), *message("m2", "4", phase="partial_answer"), *PLAIN],
        ["\n", '{"a":', " 1}"],
        [],
    ),
    (
        "whole, with words after it",
        WHOLE,
        [*PLAIN, *message("m3", "Done.", phase="commentary")],
        ["\n", '{"a":', " 1}"],
        ["Done."],
    ),
    ("whole, alone", WHOLE, PLAIN, ["\n", '{"a":', " 1}"], []),
    ("only words", STRICT, WORDS, ["Let me ", "look."], []),
    ("only commentary", STRICT, LOOK, ["Let me ", "look."], []),
    (
        "words before a call",
        STRICT,
        [*WORDS, call(), ResponseCompleted(None)],
        ["Let me ", "look."],
        [],
    ),
    ("JSON and more", STRICT, [*PLAIN, *message("m3", "Well?")], ["\n", '{"a":', " 1}"], ["Well?"]),
    (
        "commentary that looks like JSON",
        STRICT,
        [*message("m1", "{}", phase="commentary"), *JSON],
        ['{"a":', " 1}"],
        ["{}"],
    ),
    ("a fence", LOOSE, message("m", "``", "`json\n", "{", "}", "\n```"), ["{", "}"], []),
    ("no fence where it is enforced", STRICT, message("m", "```\n{}"), ["```\n{}"], []),
    # What only the whole item has
    ("no deltas", CHAT, [began("m"), whole("m", "Hello")], ["Hello"], []),
    ("not even a beginning", CHAT, [whole("m", "Hello")], ["Hello"], []),
    ("half", CHAT, [TextDelta("m", "Hé"), whole("m", "Héllo")], ["Hé", "llo"], []),
    (
        "half of a cluster",
        CHAT,
        [TextDelta("m", "e"), whole("m", "e\u0301!")],
        ["e", "\u0301!"],
        [],
    ),
    ("something else", CHAT, [TextDelta("m", "Ho"), whole("m", "Hello")], ["Ho"], []),
    ("less", CHAT, [TextDelta("m", "Hello"), whole("m", "Hell")], ["Hello"], []),
    (
        "the second alone",
        CHAT,
        [*LOOK, whole("m2", "Four.")],
        ["Let me ", "look.", "\n\n", "Four."],
        [],
    ),
    ("structured", STRICT, [whole("m1", "Hm."), whole("m2", "{}")], ["{}"], ["Hm."]),
    (
        "a stop in the rest",
        AnswerConstraints(stops=("l",)),
        [TextDelta("m", "He"), whole("m", "Hello")],
        ["He"],
        [],
    ),
    (
        "what codex adds in another role",
        CHAT,
        [*FOUR, RawItem({**whole("m", "Guidance").item, "role": "developer"})],
        ["It is ", "four."],
        [],
    ),
    # Reasoning
    (
        "parts of a summary",
        CHAT,
        [ReasoningDelta("a", "r/0"), ReasoningDelta("b", "r/0"), ReasoningDelta("c", "r/1")],
        [],
        ["a", "b", "\n\n", "c"],
    ),
    (
        "two thoughts",
        CHAT,
        [
            ReasoningDelta("a", "r/0"),
            thought("r", "a"),
            ReasoningDelta("b", "s/0"),
            thought("s", "b"),
        ],
        [],
        ["a", "\n\n", "b"],
    ),
    ("a whole thought", CHAT, [thought("r", "a", "b")], [], ["a\n\nb"]),
    (
        "half a thought",
        CHAT,
        [ReasoningDelta("a", "r/0"), thought("r", "ab", "c")],
        [],
        ["a", "b\n\nc"],
    ),
    ("a thought that is hidden", HIDDEN, [thought("r", "a"), *FOUR], ["It is ", "four."], []),
    (
        "a whole thought after commentary",
        ASIDE,
        [*LOOK, thought("r", "a"), *FOUR],
        ["It is ", "four."],
        ["Let me ", "look.", "\n\n", "a"],
    ),
    (
        "half a thought after what was no answer",
        STRICT,
        [*LOOK, *message("m3"), ReasoningDelta("a", "r/0"), thought("r", "ab"), *JSON],
        ['{"a":', " 1}"],
        ["Let me ", "look.", "\n\n", "a", "b"],
    ),
    (
        "raw text",
        CHAT,
        [RawItem({"type": "reasoning", "content": [{"type": "reasoning_text", "text": "a"}]})],
        [],
        ["a"],
    ),
]


@pytest.mark.parametrize(
    ("rules", "events", "content", "reasoning"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_a_transcript(
    rules: AnswerConstraints, events: list[Event], content: list[str], reasoning: list[str]
) -> None:
    assert heard(rules, [*events, DONE]) == (content, reasoning)


@pytest.mark.parametrize("size", range(2690, 2740))
def test_a_whole_text_is_cut_where_it_is_long_too(size: int) -> None:
    """It goes out in pieces: what may be a stop sequence, or a fence, goes on from one to the next."""
    text = f'["{"x" * size}"'
    rules = replace(LOOSE, stops=("STOP",))
    said, _ = heard(rules, [whole("m", f"{text}STOP{text}"), DONE])
    assert "".join(said) == text
    said, _ = heard(LOOSE, [whole("m", f"```\n{text}]\n```\n{text}"), DONE])
    assert "".join(said) == f"{text}]"


def test_a_message_that_begins_while_another_has_text_and_no_end_is_a_repetition() -> None:
    choice = Choice(0, CHAT)
    choice.feed(TextDelta("m1", "a"))
    with pytest.raises(UpstreamBrokeOff):
        choice.feed(began("m2"))


def test_one_that_had_not_said_a_word_is_none() -> None:
    assert heard(CHAT, [began("m1"), *FOUR, DONE]) == (["It is ", "four."], [])


def test_a_refusal_after_words_that_were_held_back_comes_after_them() -> None:
    parts = [{"type": "output_text", "text": "Hm."}, {"type": "refusal", "refusal": "No."}]
    choice = Choice(0, STRICT)
    events: list[Event] = [
        began("m"),
        TextDelta("m", "Hm."),
        RawItem({"type": "message", "content": parts}),
        DONE,
    ]
    chunks = [chunk for event in events for chunk in choice.feed(event)]
    said = [chunk for chunk in chunks if isinstance(chunk, Text | Refusal | Ended)]
    assert said == [Text(0, "Hm."), Refusal(0, "No."), Ended(0, Cause.FINISHED)]


def test_what_was_held_back_is_not_lost_where_the_answer_is_cut() -> None:
    cut = TurnFailure("Incomplete response returned, reason: max_output_tokens")
    events = [*WORDS[:-1], TurnEnded(TurnStatus.FAILED, cut)]
    assert heard(STRICT, events) == (["Let me ", "look."], [])


# Delivered

CHARACTERS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\U0001f469\u200de\u0301")
)


@given(CHARACTERS, st.lists(st.integers(0, 8)), CHARACTERS)
def test_the_rest_is_what_was_not_delivered(text: str, sizes: list[int], more: str) -> None:
    delivered, at = Delivered(), 0
    for size in sizes:
        delivered.add(text[at : at + size])
        at += size
    assert delivered.rest(text + more) == (text + more)[min(at, len(text)) :]


@given(CHARACTERS, CHARACTERS)
def test_nothing_is_the_rest_of_a_text_that_begins_otherwise(text: str, whole_text: str) -> None:
    delivered = Delivered()
    delivered.add(text)
    if not whole_text.startswith(text):
        assert delivered.rest(whole_text) == ""
