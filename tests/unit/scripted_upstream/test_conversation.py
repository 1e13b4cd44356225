from typing import Any

import pytest

from scripted_upstream.conversation import read

IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA"}


def user(*parts: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": p} if isinstance(p, str) else p for p in parts]
    return {"type": "message", "role": "user", "content": content}


def order(text: str) -> dict[str, Any]:
    return {"role": "developer", "content": text}


SPOKEN = {"role": "assistant", "content": [{"type": "output_text", "text": "fine"}]}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "42"}
SEEN = {"type": "function_call_output", "call_id": "c", "output": [IMAGE]}
HISTORY = [order("a"), user("one"), SPOKEN, user("two", IMAGE, "more"), CALL, OUTPUT, order("b")]


@pytest.mark.parametrize(
    ("entries", "read_as"),
    [
        (HISTORY, {"prompt": "two more", "told": ("one",), "results": (("f", "42"),)}),
        (HISTORY, {"instructions": ("a", "b"), "orders": ("b",), "images": 1}),
        ("plain", {"prompt": "plain", "told": (), "known_tokens": 0}),
        ([order("a")], {"prompt": "", "instructions": ("a",), "orders": ("a",)}),
        ([CALL, OUTPUT], {"prompt": "", "results": (("f", "42"),)}),
        ([OUTPUT], {"results": (("The function", "42"),)}),
        ([user("x"), CALL, SEEN], {"results": (("f", ""),), "images": 1}),
        ([CALL, OUTPUT, user("next")], {"prompt": "next", "results": (), "images": 0}),
        ([user(IMAGE), user("next")], {"told": ("",), "images": 0}),
        ([{"type": "reasoning", "summary": []}, user("x")], {"prompt": "x"}),
    ],
)
def test_a_request_is_read(entries: Any, read_as: dict[str, Any]) -> None:
    conversation = read({"input": entries})
    assert {name: getattr(conversation, name) for name in read_as} == read_as


def test_what_stands_before_the_models_last_word_is_known() -> None:
    short, long = (read({"input": [user("x" * n), SPOKEN, user("y" * 999)]}) for n in (40, 440))
    assert long.known_tokens - short.known_tokens == 100
