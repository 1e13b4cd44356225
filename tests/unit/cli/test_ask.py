"""`codex ask`: what becomes of the frames of any server, and of what others write at a terminal."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.cli.ask import Told, texts
from app.cli.exit_codes import CheckFailed, shown
from app.cli.gateway_client import Answer


def test_text_and_reasoning_are_told_apart_and_the_rest_is_noted() -> None:
    told = Told()
    frames: list[Any] = [
        {"choices": [{"delta": {"reasoning_content": "hm"}}]},
        {"choices": [{"delta": {"content": "a"}}, {"delta": {"refusal": "b"}}]},
        {"choices": [{"delta": {}, "finish_reason": "length"}], "codex_metadata": {"model": "m"}},
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    ]
    assert list(texts(iter(frames), told)) == [("hm", True), ("a", False), ("b", False)]
    assert told.summary().startswith("m · 1 + 2 tokens")
    assert told.summary().endswith("finish_reason length")


@pytest.mark.parametrize(
    "frame",
    [
        None,
        [1],
        "text",
        {"choices": 5},
        {"choices": [5]},
        {"choices": [{"delta": 5}]},
        {"error": "boom"},
        {"error": ["boom"]},
    ],
)
def test_a_frame_of_another_form_is_a_sentence(frame: Any) -> None:
    with pytest.raises(CheckFailed):
        list(texts(iter([frame]), Told()))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"code": "c", "message": "m"}}, "500 c: m"),
        ({"error": "boom"}, "500 None: boom"),
        (["boom"], "boom"),
        ({}, "500 None"),
    ],
)
def test_an_error_of_any_form_is_a_sentence(body: Any, said: str) -> None:
    with pytest.raises(CheckFailed, match=said):
        Answer(500, {}, orjson.dumps(body), 0).good()


def test_what_others_write_cannot_steer_a_terminal() -> None:
    assert shown("a\tb\n\x1b[2J\x9b2J\x1b]0;t\x07\u202e\rc") == "a\tb\n[2J2J]0;tc"
