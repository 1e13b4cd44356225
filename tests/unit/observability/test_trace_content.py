"""Words cut to fit: how much is kept, from which end, and that it says so."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.observability.trace_content import ANSWER_BYTES, Content, Room, Text, cut, fit, newest
from app.rpc.messages import Notification

CUTS: list[tuple[str, int, str]] = [
    ("", 0, ""),
    ("", 10, ""),
    ("abc", 5, "abc"),
    ("abc", 4, "ab"),
    ("abc", 2, ""),
    ("abc", 0, ""),
    ("abc", -5, ""),
    ("\0\0", 14, "\0\0"),
    ("\0\0", 13, "\0"),
    ("éé", 6, "éé"),
    ("éé", 5, "é"),
    ("\ud800a", 10, "?a"),
]


@pytest.mark.parametrize(("text", "most", "kept"), CUTS)
def test_a_text_is_cut_by_its_size_as_json(text: str, most: int, kept: str) -> None:
    assert cut(text, most) == kept


@settings(deadline=None)
@given(st.text(), st.integers(2, 200))
def test_a_cut_is_a_beginning_that_fits(text: str, most: int) -> None:
    kept = cut(text, most)
    assert text.startswith(kept)
    assert len(orjson.dumps(kept)) <= most


def test_what_is_missing_is_counted() -> None:
    assert Room(7).take("abcdefgh") == "abcde … [3 more characters]"
    assert Room(10).take("abcdefgh") == "abcdefgh"


def test_of_an_image_only_the_beginning_is_kept() -> None:
    shown = Room(10_000).take("data:image/png;base64," + "A" * 5000)
    assert shown == "data:image/png;base64,AAAAAAAA … [4992 more characters]"


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


FITS: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (1.5, 1.5),
    ({"a": [1, {"b": "c"}]}, {"a": [1, {"b": "c"}]}),
    (("a", "b"), ["a", "b"]),
    (nested(3), nested(3)),
    (object(), "…"),
    (b"bytes", list(b"bytes")),
]


@pytest.mark.parametrize(("value", "fitted"), FITS)
def test_what_fits_is_kept_as_it_is(value: Any, fitted: Any) -> None:
    assert fit(value, Room(1000)) == fitted


def test_no_depth_is_too_deep() -> None:
    assert "…" in orjson.dumps(fit(nested(900), Room(10_000))).decode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(JSON, st.integers(0, 300))
def test_what_is_cut_fits_nearly(value: Any, room: int) -> None:
    """Nearly: what is cut says so, at each level at most once after the room is used up."""
    assert len(orjson.dumps(fit(value, Room(room)))) <= room + 1000


def test_of_many_items_the_last_are_kept() -> None:
    items = [{"n": number} for number in range(1000)]
    kept = newest(items, 300)
    assert kept[-1] == {"n": 999}
    assert kept[0] == {"left_out": 1000 - len(kept) + 1}
    assert len(kept) > 5
    assert [item["n"] for item in kept[2:]] == list(range(1002 - len(kept), 1000))


def test_all_items_are_kept_where_they_fit() -> None:
    assert newest([{"n": 1}, {"n": 2}], 300) == [{"n": 1}, {"n": 2}]
    assert newest([], 300) == []


def test_a_text_of_deltas_has_no_hole() -> None:
    text = Text(10)
    for delta in ("abcd", "efghijkl", "m", None, 5):
        text.add(delta)
    assert str(text) == "abcdef … [7 more characters]"


def test_an_answer_is_joined_and_cut() -> None:
    content = Content()
    for _ in range(ANSWER_BYTES):
        content.note_event(Notification("item/agentMessage/delta", {"delta": "ab"}))
    answer = content.to_document("t")["answer"]
    kept, _, rest = answer.partition(" … ")
    assert set(kept) == {"a", "b"}
    assert rest == f"[{2 * ANSWER_BYTES - len(kept)} more characters]"


def test_the_parts_of_a_turn() -> None:
    content = Content()
    prompt = [{"type": "message", "role": "user", "content": "hi"}]
    old = {"type": "function_call", "name": "old", "arguments": "{}", "call_id": "c0"}
    new = {"type": "function_call", "name": "new", "arguments": '{"a": 1}', "call_id": "c1"}
    content.note_call("thread/start", {"model": "m", "dynamicTools": [{"name": "new"}]})
    content.note_call("thread/inject_items", {"items": prompt})
    content.note_call("turn/start", {"effort": "low"})
    content.note_item("before", old)
    content.note_event(Notification("item/reasoning/summaryTextDelta", {"delta": "hm"}))
    content.note_event(Notification("item/agentMessage/delta", {"delta": "hel"}))
    content.note_event(Notification("item/agentMessage/delta", {"delta": "lo"}))
    content.note_event(Notification("turn/completed", {"turn": {}}))
    content.note_item("ours", {**new, "id": "fc_1", "encrypted_content": "secret"})
    content.note_item("ours", {"type": "reasoning", "encrypted_content": "secret"})
    content.note_item("ours", {"type": "message", "content": []})
    content.note_item("ours", None)
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
        content.note_item("before", {"type": "function_call", "arguments": "x" * 1000})
    content.note_item("ours", {"type": "function_call", "arguments": "{}"})
    assert content.to_document("ours")["calls"] == [{"type": "function_call", "arguments": "{}"}]
