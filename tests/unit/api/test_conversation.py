"""A conversation in the making: calls and their results find one another, whatever their ids."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.conversation import Conversation

IDS = st.sampled_from(["", "c", "d", "x" * 65])


def test_messages_have_only_members_that_say_something() -> None:
    talk = Conversation()
    talk.say("user", [{"type": "input_text", "text": "a"}], phase="")
    talk.say("assistant", [], phase="commentary")
    assert [set(item) for item in talk.items] == [
        {"type", "role", "content"},
        {"type", "role", "content", "phase"},
    ]


def test_results_of_one_id_come_in_the_order_of_its_calls() -> None:
    talk = Conversation()
    for _ in range(2):
        talk.call("f", "{}", "c", "here")
    first, second = (item["call_id"] for item in talk.items)
    assert first == "c"
    assert [talk.answer("c"), talk.answer("c"), talk.answer("c")] == [first, second, None]


@given(st.lists(IDS, max_size=12), st.randoms())
def test_every_call_is_answered_once(ids: list[str], chance: Random) -> None:
    talk = Conversation()
    for place, call_id in enumerate(ids):
        talk.call("f", "{}", call_id, f"at {place}")
    upstream = [item["call_id"] for item in talk.items]
    assert len(set(upstream)) == len(ids)
    assert all(0 < len(call_id) <= 64 for call_id in upstream)
    order = [*ids]
    chance.shuffle(order)
    for call_id in order:
        assert talk.first_open is not None
        answered = talk.answer(call_id)
        assert answered is not None
        talk.result(answered, "x")
    assert talk.first_open is None
    results = [item["call_id"] for item in talk.items if item["type"] == "function_call_output"]
    assert sorted(results) == sorted(upstream)


def test_what_is_expected_is_answered_like_a_call() -> None:
    talk = Conversation()
    assert talk.expect("t", "here") == "t"
    assert talk.first_open is not None
    assert talk.first_open.where == "here"
    assert talk.answer("t") == "t"
    assert talk.items == []


@pytest.mark.parametrize(
    ("others", "is_same"),
    [
        ('{"a":1}', True),
        ('{ "a" : 1 }', True),
        ('{"a": 2}', False),
        ("no JSON", False),
        ("[" * 900 + "]" * 900, False),
    ],
)
def test_a_call_waits_under_its_arguments_however_they_are_written(
    others: str, is_same: bool
) -> None:
    conversation = Conversation()
    conversation.call("f", '{"a":1}', "c", "here")
    assert conversation.awaits("f", others, "c", "here") is is_same


def test_arguments_that_are_nested_deeply_are_compared_or_taken_for_others() -> None:
    deep = "[" * 900 + "]" * 900
    conversation = Conversation()
    conversation.call("f", deep, "c", "here")
    assert conversation.awaits("f", deep, "c", "here")
    assert not conversation.awaits("f", f"[{deep}]", "c", "here")
