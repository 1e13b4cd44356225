"""Marks of conversations: which of them are the same so far."""

from __future__ import annotations

import pytest

from app.backends.app_server.conversation import MOST_STANDS, Conversation, read
from app.json_text import MOST_CHARACTERS
from tests.unit.backends.app_server.items import (
    Item,
    asked,
    call,
    mark,
    output,
    said,
    text_part,
    thought,
)


def deep(value: str) -> str:
    return '{"a":' * 300 + value + "}" * 300


@pytest.mark.parametrize(
    ("held", "brought"),
    [
        pytest.param(said("a", "b"), said("ab"), id="parts of a text"),
        pytest.param(said(" a b\n"), said("a b"), id="white space at the ends"),
        pytest.param(said("a", status="completed", id="m1"), said("a"), id="codex's own members"),
        pytest.param(call('{"a": 1, "b": [2]}'), call('{"b":[2],"a":1}'), id="arguments anew"),
        pytest.param(output([text_part("42")]), output("42"), id="a list of one text"),
        pytest.param(
            {**said("a"), "content": [{"type": "output_text", "text": "a", "annotations": []}]},
            said("a"),
            id="annotations",
        ),
    ],
)
def test_what_clients_alter_is_the_same(held: Item, brought: Item) -> None:
    assert mark(asked("q"), held) == mark(asked("q"), brought)


@pytest.mark.parametrize(
    ("held", "brought"),
    [
        pytest.param(said("a b"), said("ab"), id="white space inside"),
        pytest.param(said("a"), said("A"), id="another word"),
        pytest.param(said("a"), said("a", phase="commentary"), id="another phase"),
        pytest.param(said("a"), asked("a"), id="another role"),
        pytest.param(asked("a"), asked("a", "developer"), id="developer for user"),
        pytest.param(asked("a"), asked("a "), id="a question with a space more"),
        pytest.param(call("{}"), call("{ "), id="arguments that are no JSON"),
        pytest.param(call('{"a":1}'), call('{"a":1.5}'), id="another argument"),
        pytest.param(call(deep("1")), call(deep("2")), id="arguments too deep to be written"),
        pytest.param(call(), call(call_id="c2"), id="another id"),
        pytest.param(call(), call(name="see"), id="another function"),
        pytest.param(output("42"), output("43"), id="another result"),
        pytest.param(output("42"), output([text_part("4"), text_part("2")]), id="two texts"),
        pytest.param(
            {**said("a"), "content": [{"type": "refusal", "refusal": "a"}]}, said("a"), id="refusal"
        ),
        pytest.param({"type": "odd", "a": 1}, {"type": "odd", "a": 2}, id="any other item"),
    ],
)
def test_what_makes_a_difference_is_not(held: Item, brought: Item) -> None:
    assert mark(asked("q"), held) != mark(asked("q"), brought)


def test_order_number_and_borders_count() -> None:
    marks = {
        mark(asked("a"), asked("b")),
        mark(asked("b"), asked("a")),
        mark(asked("ab")),
        mark(asked("a")),
        mark(asked("a"), asked("a")),
        mark(),
    }
    assert len(marks) == 6


def test_reasoning_is_beside_the_mark() -> None:
    with_it, without = Conversation(), Conversation()
    with_it.extend([asked("q"), thought(), said("a")])
    without.extend([asked("q"), said("a")])
    assert with_it.mark == without.mark
    assert len(set(with_it.reasoning)) == 1
    assert without.reasoning == ()
    other = Conversation()
    other.extend([thought("other"), thought(item_id="rs_2")])
    assert not {*with_it.reasoning} & {*other.reasoning}


@pytest.mark.parametrize(
    "item",
    [
        {**said("a"), "content": [{"type": "output_text", "text": "a" * 25}] * 100_000},
        {**said("a"), "content": [{"type": "refusal", "refusal": "a"}] * 100_000},
        thought("t" * 5_000_000),
        said("a" * 5_000_000),
    ],
    ids=["parts", "other parts", "reasoning", "text"],
)
def test_a_long_answer_is_read_with_pauses(item: Item) -> None:
    pauses: list[None] = []
    paused, at_once = Conversation(), Conversation()
    size = paused.extend([item], lambda: pauses.append(None))
    assert len(pauses) >= 20
    assert size == at_once.extend([item]) > 1_000_000
    assert (paused.mark, paused.reasoning) == (at_once.mark, at_once.reasoning)


def test_it_stood_behind_each_answer() -> None:
    items = (asked("q"), thought(), call(), output(), said("a"), asked("r"), said("b"), asked("s"))
    found = read(items)
    assert [stand.length for stand in found.stands] == [7, 5, 3]
    assert [stand.mark for stand in found.stands] == [mark(*items[:n]) for n in (7, 5, 3)]
    assert found.whole.mark == mark(*items)
    assert [len(found.reasoning_before(stand)) for stand in found.stands] == [1, 1, 1]


@pytest.mark.parametrize(
    "items", [(), (asked("q"),), (asked("q"), said("a")), (said("a"),)], ids=str
)
def test_without_something_new_behind_an_answer_it_stood_nowhere(items: tuple[Item, ...]) -> None:
    assert read(items).stands == ()


def test_of_a_long_conversation_the_latest_answers_are_looked_at() -> None:
    items = (asked("q"), said("a")) * (MOST_STANDS + 10) + (asked("q"),)
    stands = read(items).stands
    assert len(stands) == MOST_STANDS
    assert stands[0].length == len(items) - 1


def test_a_long_one_lets_others_run() -> None:
    pauses: list[None] = []
    read((asked("x" * 4 * MOST_CHARACTERS), said("a")), lambda: pauses.append(None))
    assert len(pauses) >= 3
    pauses.clear()
    read((asked("x"), said("a")) * 2000, lambda: pauses.append(None))
    assert len(pauses) >= 3
