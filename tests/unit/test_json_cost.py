import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.json_cost import MOST_VALUES, ValueCount, has_too_many_values

TEXT = st.text(st.sampled_from('a\\",[{:}] \n\u00e9\U0001f600'), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def values_in(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(values_in, value))
    return 1 + sum(map(values_in, value.values())) if isinstance(value, dict) else 1


@given(JSON, st.lists(st.integers(1, 9), min_size=1), st.sampled_from([None, 1]))
def test_no_text_has_more_values_than_are_counted(
    value: Any, sizes: list[int], indent: int | None
) -> None:
    text = json.dumps(value, indent=indent).encode() if indent else orjson.dumps(value)
    count, place, step = ValueCount(), 0, 0
    while place < len(text):
        size = sizes[step % len(sizes)]
        count.feed(text[place : place + size])
        place, step = place + size, step + 1
    whole = ValueCount()
    assert values_in(value) <= whole.feed(text) <= 2 * values_in(value) + 1
    assert values_in(value) <= count.values


@pytest.mark.parametrize(
    "unit", ["a", ",", "[", "{", '"', "\\", '\\"', "\\\\", 'f(a, [b], {"c": "d"}),\n', "\u6f22"]
)
@pytest.mark.parametrize("block", [7, 64 * 1024])
def test_what_a_string_holds_is_not_counted(unit: str, block: int) -> None:
    text = orjson.dumps({"a": unit * 3_000})
    count = ValueCount()
    for start in range(0, len(text), block):
        count.feed(text[start : start + block])
    assert count.values < 10


@pytest.mark.parametrize("unit", [b"{},", b"[],", b"1,", b'"",', b'"a":1,', b'"', b"[", b'{"a":'])
def test_too_many_values_are_noticed_wherever_they_stand(unit: bytes) -> None:
    assert has_too_many_values(b'{"a":"' + b"x" * 100_000 + b'","b":[' + unit * 5 * MOST_VALUES)
    assert not has_too_many_values(b"[" + unit * 1_000)


def test_what_agents_send_is_far_from_too_much() -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": "x"}]}] * 10_000
    properties = {f"p{number}": {"type": "string"} for number in range(60)}
    tool = {"type": "function", "function": {"name": "t", "parameters": {"properties": properties}}}
    assert not has_too_many_values(orjson.dumps({"messages": said, "tools": [tool] * 128}))
