"""Words of a turn, cut: how much is kept, from which end, and that it says so."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.observability.trace_content import ANSWER_CHARS, Content, clip, keep_last

LONG = "a" * 1500


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


CLIPPED: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (1.5, 1.5),
    ("", ""),
    ("a" * 1000, "a" * 1000),
    ("a" * 1003, "a" * 1000 + " … [3 more characters]"),
    ("\ud800a", "?a"),
    ("data:image/png;base64,AAAAAAAAAA", "data:image/png;base64,AAAAAAAAAA"),
    (
        "data:image/png;base64," + "A" * 5000,
        "data:image/png;base64,AAAAAAAAAA … [4990 more characters]",
    ),
    ({"a": [1, {"b": "c"}]}, {"a": [1, {"b": "c"}]}),
    ({"a": [LONG]}, {"a": ["a" * 1000 + " … [500 more characters]"]}),
    ({LONG: 1}, {"a" * 1000 + " … [500 more characters]": 1}),
    (("a", "b"), ["a", "b"]),
    (nested(3), nested(3)),
    (object(), "…"),
]


@pytest.mark.parametrize(("value", "clipped"), CLIPPED)
def test_long_texts_are_cut_and_say_how_much_is_missing(value: Any, clipped: Any) -> None:
    assert clip(value) == clipped


def test_no_depth_is_too_deep() -> None:
    assert "…" in orjson.dumps(clip(nested(900))).decode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(JSON), st.integers(0, 300))
def test_what_is_kept_fits(items: list[Any], most: int) -> None:
    kept = keep_last(items, most)
    left_out = len(items) - len(kept)
    if kept and isinstance(kept[0], dict) and "left_out" in kept[0]:
        left_out = kept.pop(0)["left_out"]
    assert len(kept) + left_out == len(items)
    assert len(orjson.dumps(kept)) <= most + 2


def test_of_many_items_the_last_are_kept() -> None:
    items = [{"n": number} for number in range(1000)]
    kept = keep_last(items, 300)
    assert kept[-1] == {"n": 999}
    assert kept[0] == {"left_out": 1000 - len(kept) + 1}
    assert len(kept) > 5
    assert [item["n"] for item in kept[1:]] == list(range(1001 - len(kept), 1000))


def test_all_items_are_kept_where_they_fit() -> None:
    assert keep_last([{"n": 1}, {"n": 2}], 300) == [{"n": 1}, {"n": 2}]
    assert keep_last([], 300) == []
    assert keep_last(["a" * 5000], 300) == [{"left_out": 1}]


DELTA = "item/agentMessage/delta"
RAW = "rawResponseItem/completed"


def test_an_answer_is_joined_and_cut() -> None:
    content = Content()
    for delta in ("abc" * ANSWER_CHARS, None, 5, "d"):
        content.note_event(DELTA, {"delta": delta})
    whole, answer = "abc" * ANSWER_CHARS + "d", content.to_document("t")["answer"]
    assert answer == f"{whole[:ANSWER_CHARS]} … [{len(whole) - ANSWER_CHARS} more characters]"


def test_of_an_answer_in_small_pieces_as_much_is_kept() -> None:
    content = Content()
    for _ in range(ANSWER_CHARS // 2):
        content.note_event(DELTA, {"delta": "ab"})
    assert content.to_document("t")["answer"] == "ab" * (ANSWER_CHARS // 2)


def test_the_parts_of_a_turn() -> None:
    content = Content()
    prompt = [{"type": "message", "role": "user", "content": "hi"}]
    old = {"type": "function_call", "name": "old", "arguments": "{}", "call_id": "c0"}
    new = {"type": "function_call", "name": "new", "arguments": '{"a": 1}', "call_id": "c1"}
    content.note_call("thread/start", {"model": "m", "dynamicTools": [{"name": "new"}]})
    content.note_call("thread/inject_items", {"items": prompt})
    content.note_call("turn/start", {"effort": "low"})
    content.note_event(RAW, {"turnId": "before", "item": old})
    content.note_event("item/reasoning/summaryTextDelta", {"delta": "hm"})
    content.note_event(DELTA, {"delta": "hel"})
    content.note_event(DELTA, {"delta": "lo"})
    content.note_event("turn/completed", {"turn": {}})
    for item in (
        {**new, "id": "fc_1", "encrypted_content": "secret"},
        {"type": "reasoning", "encrypted_content": "secret"},
        {"type": "message", "content": []},
        None,
    ):
        content.note_event(RAW, {"turnId": "ours", "item": item})
    assert content.to_document("ours") == {
        "prompt": prompt,
        "tools": [{"name": "new"}],
        "answer": "hello",
        "reasoning": "hm",
        "calls": [new],
    }
    assert content.to_document(None)["calls"] == []


def test_calls_of_the_prompt_take_no_room_of_the_models() -> None:
    content = Content()
    for _ in range(100):
        old = {"type": "function_call", "arguments": "x" * 1000}
        content.note_event(RAW, {"turnId": "before", "item": old})
    ours = {"type": "function_call", "arguments": "{}"}
    content.note_event(RAW, {"turnId": "ours", "item": ours})
    assert content.to_document("ours")["calls"] == [ours]
    assert len(content.to_document("before")["calls"]) == 4
