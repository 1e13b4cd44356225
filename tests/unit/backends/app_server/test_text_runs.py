"""Runs of pieces: what is recognised without being parsed says what the whole line would have said, in its order."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backend.events import TextDelta, TextRun
from app.backends.app_server.parse_events import Addressed, ThreadId, TurnId, parse_event
from app.backends.app_server.text_runs import TextRuns

DELTA = "item/agentMessage/delta"
STAMPED = {"emittedAtMs": 1_796_088_534_400}


def line(delta: object, thread: str = "t1", item: str = "i1", **more: Any) -> bytes:
    params = {"threadId": thread, "turnId": f"turn of {thread}", "itemId": item, "delta": delta}
    return orjson.dumps({"method": DELTA, "params": params, **(more or STAMPED)})


class Reader:
    """Reads lines as a connection does: those that are not taken are parsed, and every piece is noted."""

    def __init__(self) -> None:
        self.open = {"t1", "t2"}
        self.runs = TextRuns(self._note, lambda thread_id: thread_id in self.open)
        self.told: list[tuple[str, str, str, str]] = []
        self.sizes: list[int] = []
        self.parsed = 0

    def _note(self, thread_id: ThreadId, turn_id: TurnId, run: TextRun, size: int) -> None:
        self.sizes.append(size)
        self.told += [(thread_id, turn_id, run.item_id, text) for text in run.texts]

    def read(self, *lines: bytes) -> None:
        for one in lines:
            if not self.runs.takes(one):
                self._parse(one)
        self.runs.flush()

    def _parse(self, one: bytes) -> None:
        self.parsed += 1
        message = orjson.loads(one)
        addressed = parse_event(message["method"], message["params"])
        assert addressed is not None
        assert isinstance(addressed.event, TextDelta)
        self.runs.learn(addressed, addressed.event)
        self.runs.flush_one(addressed.thread_id)
        self.told.append((*addressed[:2], addressed.event.item_id, addressed.event.text))


@pytest.fixture
def reader() -> Reader:
    return Reader()


def test_only_the_first_line_of_a_message_is_parsed(reader: Reader) -> None:
    reader.read(line("a"), line("b"), line("c"))
    reader.read(line("d"))
    assert reader.parsed == 1
    assert [text for *_, text in reader.told] == ["a", "b", "c", "d"]
    assert reader.sizes == [2 * len(line("b")), len(line("d"))]


@pytest.mark.parametrize("more", [STAMPED, {"jsonrpc": "2.0"}, {"params2": {"delta": "x"}}])
def test_members_behind_the_parameters_do_no_harm(reader: Reader, more: dict[str, Any]) -> None:
    reader.read(line("a", **more), line("b", **more))
    assert [text for *_, text in reader.told] == ["a", "b"]


def test_lines_without_a_time_are_known_too(reader: Reader) -> None:
    bare = [line(text).replace(b',"emittedAtMs":1796088534400', b"") for text in "ab"]
    reader.read(*bare)
    assert (reader.parsed, len(reader.told)) == (1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"',
        "\\",
        '","delta":"',
        '"},"emittedAtMs":1}',
        '}},"emittedAtMs":12}',
        "\n\r\t\0",
        "\u2028 e\u0301 👩‍👩‍👧",
        "}}",
    ],
)
def test_a_piece_may_hold_anything(reader: Reader, text: str) -> None:
    reader.read(line("a"), line(text), line(text))
    assert reader.parsed == 1
    assert [text for *_, text in reader.told] == ["a", text, text]


@given(st.lists(st.tuples(st.sampled_from(["t1", "t2"]), st.sampled_from("ij"), st.text())))
def test_each_thread_is_told_exactly_what_its_lines_say(said: list[tuple[str, str, str]]) -> None:
    reader = Reader()
    reader.read(*(line(text, thread, item) for thread, item, text in said))
    for thread in ("t1", "t2"):
        expected = [(item, text) for of, item, text in said if of == thread]
        assert [one[2:] for one in reader.told if one[0] == thread] == expected


@given(st.text(), st.booleans())
def test_ascii_escapes_are_read_like_the_characters(text: str, escaped: bool) -> None:
    reader = Reader()
    written = json.loads(line(text))
    as_text = json.dumps(written, separators=(",", ":"), ensure_ascii=escaped)
    reader.read(line("a"), as_text.encode("utf-8", "surrogatepass"))
    assert reader.told[-1][-1] == text


@pytest.mark.parametrize(
    "odd",
    [
        line("b").replace(b'"b"', b"12"),
        line("b").replace(b'"b"', b'{"b":1}'),
        line("b").replace(b'"b"', b"null"),
        line("b").replace(b'"b"', b'"b","delta2":"c"'),
        line("b").replace(b'"b"', b'"b'),
        line("b").replace(b"400}", b"4x0}"),
        line("b")[:-1],
        line("b") + b"}",
        line("b").replace(DELTA.encode(), b"item/started"),
        b'{"id":1,"result":{}}',
        b"",
        b',"delta":',
    ],
)
def test_what_is_no_such_line_is_left_to_be_parsed(reader: Reader, odd: bytes) -> None:
    reader.read(line("a"), line("b"))
    assert not reader.runs.takes(odd)
    reader.read(line("c"))
    assert [text for *_, text in reader.told] == ["a", "b", "c"]


def test_nothing_is_learned_from_another_line_than_the_last(reader: Reader) -> None:
    assert not reader.runs.takes(b'{"method":"else","params":{"x":1,"delta":"a"}}')
    reader.runs.learn(
        Addressed(ThreadId("t1"), parse_turn("t1"), TextDelta("i1", "z")), TextDelta("i1", "z")
    )
    assert not reader.runs.takes(b'{"method":"else","params":{"x":1,"delta":"a"}}')


def parse_turn(thread: str) -> Any:
    return f"turn of {thread}"


def test_a_turn_of_very_many_messages_takes_the_room_of_one(reader: Reader) -> None:
    for number in range(1000):
        reader.read(line("a", item=f"i{number}"), line("b", item=f"i{number}"))
    assert len(reader.runs) == 1
    assert (reader.parsed, len(reader.told)) == (1000, 2000)


def test_turns_that_are_over_are_forgotten(reader: Reader) -> None:
    for number in range(1000):
        reader.read(line("a", f"over-{number}"), line("b", f"over-{number}"))
    assert len(reader.runs) < 100
    assert len(reader.told) == 2000
    reader.read(line("a"), *(line("x", f"more-{number}") for number in range(100)), line("b"))
    assert reader.told[-1][-1] == "b"
