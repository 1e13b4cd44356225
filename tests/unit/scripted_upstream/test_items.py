from typing import Any

import pytest

from scripted_upstream.items import ITEM_TYPES, refuse_input

CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "42"}
USER = {"role": "user", "content": "hi"}


def said(role: str, *parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts)}


def text(kind: str = "input_text") -> dict[str, Any]:
    return {"type": kind, "text": "t"}


def image(url: Any) -> dict[str, Any]:
    return said("user", {"type": "input_image", "image_url": url})


@pytest.mark.parametrize(
    "entries",
    [
        [USER],
        [said("system", text()), said("developer", text()), said("user", text())],
        [said("assistant", text("output_text"), {"type": "refusal", "refusal": "no"})],
        [said("user")],
        [CALL, OUTPUT],
        [CALL, {**OUTPUT, "output": [text(), image("data:image/png;base64,AA")["content"][0]]}],
        [{**CALL, "call_id": "d"}, CALL, OUTPUT, {**OUTPUT, "call_id": "d"}],
        [{"type": "reasoning", "summary": []}],
        [image("https://example.com/a.png")],
        [said("user", {"type": "input_image", "file_id": "file_1"})],
    ],
)
def test_valid_items_pass(entries: list[Any]) -> None:
    assert list(refuse_input(entries)) == []


@pytest.mark.parametrize(
    ("entries", "param", "opening"),
    [
        (["x"], "input[0]", "Invalid type"),
        ([{}], "input[0]", "Invalid value: 'None'"),
        ([{"type": "nope"}], "input[0]", "Invalid value: 'nope'"),
        ([USER, said("tool", text())], "input[1].role", "Invalid value: 'tool'"),
        (
            [said("user", text("output_text"))],
            "input[0].content[0]",
            "Invalid value: 'output_text'",
        ),
        ([said("assistant", text())], "input[0].content[0]", "Invalid value: 'input_text'"),
        ([said("user", "x")], "input[0].content[0]", "Invalid value: 'None'"),
        ([said("user", {"type": "input_text"})], "input[0].content[0].text", "Missing required"),
        ([{"role": "user"}], "input[0].content", "Invalid type"),
        ([image("file:///etc/passwd")], "input[0].content[0].image_url", "Invalid 'input[0]"),
        ([image(None)], "input[0].content[0].image_url", "Invalid 'input[0]"),
        ([OUTPUT], "input", "No tool call found for function call output with call_id c."),
        ([OUTPUT, CALL, OUTPUT], "input", "No tool call found for function call output"),
        ([CALL], "input", "No tool output found for function call c."),
        ([{"type": "function_call"}], "input[0].call_id", "Missing required"),
        ([CALL, {"type": "function_call_output", "call_id": "c"}], "input[1].output", "Missing"),
        ([{**CALL, "type": "custom_tool_call"}, OUTPUT], "input", "No tool call found"),
    ],
)
def test_a_wrong_item_is_refused(entries: list[Any], param: str, opening: str) -> None:
    message, where, _ = next(iter(refuse_input(entries)))
    assert where == param
    assert message.startswith(opening)


def test_every_kind_of_item_is_known_once() -> None:
    assert len(ITEM_TYPES) == len(set(ITEM_TYPES))
