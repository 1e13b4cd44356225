from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted_upstream.default_answer import PACE_MS, demo_response, last_user_text, pieces
from scripted_upstream.script import Message, Reasoning

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
    (message,) = demo_response({"input": entries}).items
    assert isinstance(message, Message)
    answer = "".join(message.deltas)
    assert ("You wrote" in answer) == bool(quoted)
    assert quoted in answer
    for words in ("demo upstream", "scripted", "codex app-server", "flask --app wsgi codex login"):
        assert words in answer


def test_a_long_message_is_quoted_in_part() -> None:
    (message,) = demo_response({"input": "word " * 1000}).items
    assert isinstance(message, Message)
    assert len("".join(message.deltas)) < 500


def test_the_answer_comes_in_many_small_paced_pieces() -> None:
    response = demo_response({"input": "hi"})
    (message,) = response.items
    assert isinstance(message, Message)
    assert response.interval_ms == PACE_MS
    assert len(message.deltas) > 30
    assert max(map(len, message.deltas)) < 10


@pytest.mark.parametrize(
    ("reasoning", "kinds"),
    [
        (None, [Message]),
        ({}, [Message]),
        ({"effort": "high"}, [Message]),
        ({"summary": "none"}, [Message]),
        ({"summary": "auto"}, [Reasoning, Message]),
    ],
)
def test_it_thinks_aloud_only_if_asked(reasoning: Any, kinds: list[type]) -> None:
    response = demo_response({"input": "hi", "reasoning": reasoning})
    assert [type(item) for item in response.items] == kinds


@given(st.text())
def test_pieces_are_the_text_again(text: str) -> None:
    assert "".join(pieces(text)) == text
