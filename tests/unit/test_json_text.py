from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.json_text import MOST_CHARACTERS, is_long, pieces

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, st.integers(0, 3), st.text('a"\\\n\x01\u00e9\U0001f600', min_size=1, max_size=8))
def test_the_pieces_are_what_orjson_writes(value: Any, copies: int, unit: str) -> None:
    long = {"a": unit * (copies * MOST_CHARACTERS // len(unit)), "b": [value] * (copies * 600)}
    assert b"".join(pieces([value, long])) == orjson.dumps([value, long])


@pytest.mark.parametrize(
    "value",
    [
        {"items": [{"text": '"' * 3_000_000}]},
        [{"role": "user", "content": "x"}] * 20_000,
        dict.fromkeys(map(str, range(50_000)), 1),
        [[1] * 900] * 900,
    ],
    ids=["text", "messages", "members", "numbers"],
)
def test_no_piece_is_long(value: Any) -> None:
    sizes = list(map(len, pieces(value)))
    assert len(sizes) > 5
    assert max(sizes) < 8 * MOST_CHARACTERS


def test_a_short_value_is_one_piece() -> None:
    assert list(pieces({"a": ["b", None]})) == [b'{"a":["b",null]}']


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x" * MOST_CHARACTERS, False),
        ("x" * (MOST_CHARACTERS + 1), True),
        (["x" * 1000] * 132, True),
        ([1] * 900, False),
        ([1] * 1_100, True),
        ([[1] * 100] * 100, True),
        ({"x" * MOST_CHARACTERS: "x"}, True),
        (None, False),
    ],
)
def test_a_value_is_long_by_its_texts_or_by_their_number(value: Any, expected: bool) -> None:
    assert is_long(value) is expected


@pytest.mark.parametrize("text", ["\ud800", "x" * MOST_CHARACTERS + "\udfff"])
def test_what_cannot_be_json_is_refused(text: str) -> None:
    with pytest.raises(orjson.JSONEncodeError):
        list(pieces([text]))
