"""Frames of server-sent events, as bytes. What a stream does is tested in `tests/e2e`."""

import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.frames import frame

LINE_ENDS = [
    chr(code) for code in range(sys.maxunicode + 1) if len(f"a{chr(code)}b".splitlines()) > 1
]


def test_the_name_of_an_event_stands_before_its_data() -> None:
    assert frame((None, b"{}")) == b"data: {}\n\n"
    assert frame(("a.b", b"{}")) == b"event: a.b\ndata: {}\n\n"


def test_these_characters_end_lines() -> None:
    assert len(LINE_ENDS) == 10
    assert {"\x85", "\u2028", "\u2029"} < set(LINE_ENDS)


@pytest.mark.parametrize("end", LINE_ENDS)
@pytest.mark.parametrize("around", ["", "\\", '"', "\\u", "â€¨", "\u2027", "Â", "é", "\U00012028"])
def test_no_character_of_a_text_ends_the_line(end: str, around: str) -> None:
    value = {f"a{end}": [around + end + around + end]}
    (line,) = frame((None, orjson.dumps(value)))[:-2].decode().splitlines()
    assert orjson.loads(line.removeprefix("data: ")) == value


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(LINE_ENDS)))
def test_any_text_is_one_line_and_comes_back(text: str) -> None:
    (line,) = frame((None, orjson.dumps(text)))[:-2].decode().splitlines()
    assert orjson.loads(line.removeprefix("data: ")) == text


def test_what_needs_no_escape_has_none() -> None:
    text = "“é” — \xa0«x» 漢 \u2027\u202a\x84\x86"
    assert frame((None, orjson.dumps(text))).decode() == f'data: "{text}"\n\n'
