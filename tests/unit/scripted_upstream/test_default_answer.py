from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted_upstream.default_answer import (
    greeting,
    last_user_text,
    message,
    pieces,
    shortened,
    thoughts,
)

USER = {"role": "user", "content": [{"type": "input_text", "text": "What is  up?\n"}]}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "42"}
SPOKEN = {"role": "assistant", "content": [{"type": "output_text", "text": "fine"}]}


@pytest.mark.parametrize(
    ("entries", "quoted"),
    [
        ("hello", "hello"),
        ([USER], "What is up?"),
        ([{"role": "user", "content": "plain"}], "plain"),
        ([{"role": "user", "content": ""}], ""),
        ([{"role": "user", "content": [IMAGE]}], ""),
        ([{"role": "user", "content": []}], ""),
        ([USER, SPOKEN], "What is up?"),
        ([USER, CALL, OUTPUT], "What is up?"),
        ([CALL, OUTPUT], ""),
        ([SPOKEN], ""),
        ([USER, {"role": "user", "content": "later"}], "later"),
    ],
)
def test_any_input_is_answered(entries: Any, quoted: str) -> None:
    assert last_user_text({"input": entries}) == quoted
    answer = greeting({"input": entries})
    assert ("You wrote" in answer) == bool(quoted)
    assert quoted in answer
    for words in (
        "demo upstream",
        "scripted",
        "codex app-server",
        ".venv/bin/flask --app wsgi codex login",
    ):
        assert words in answer


def test_a_long_message_is_quoted_in_part() -> None:
    said = greeting({"input": "word " * 1000})
    assert len(said) < 500
    assert said.isascii(), "a pipe may have no other characters"


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ([IMAGE], "An image came with it."),
        ([{"type": "input_text", "text": "Look!"}, IMAGE, IMAGE], "2 images came with it."),
    ],
)
def test_images_are_counted(content: Any, seen: str) -> None:
    assert seen in greeting({"input": [{"role": "user", "content": content}]})
    assert "came with it" not in greeting({"input": [USER]})


def test_the_answer_comes_in_many_small_pieces() -> None:
    deltas = message(greeting({"input": "hi"})).deltas
    assert len(deltas) > 30
    assert max(map(len, deltas)) < 10


@pytest.mark.parametrize(
    ("text", "short"), [("", ""), ("12345", "12345"), ("123456", "12..."), ("1   56", "1...")]
)
def test_a_shortened_text_says_so(text: str, short: str) -> None:
    assert shortened(text, 5) == short


@pytest.mark.parametrize(
    ("reasoning", "count"),
    [
        (None, 0),
        ({}, 0),
        ({"effort": "high"}, 0),
        ({"summary": "none"}, 0),
        ({"summary": "auto"}, 1),
    ],
)
def test_it_thinks_aloud_only_if_asked(reasoning: Any, count: int) -> None:
    assert len(thoughts({"input": "hi", "reasoning": reasoning})) == count


@given(st.text())
def test_pieces_are_the_text_again(text: str) -> None:
    assert "".join(pieces(text)) == text
