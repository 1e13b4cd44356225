"""Items about searches: what of them goes upstream, and what is refused before codex reads it."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.content import ImageFields, Past, PixelCount
from app.api.input_items import InputReader
from app.backend.request import estimate_tokens
from app.errors import InvalidRequest

Item = dict[str, Any]

CALL = {"type": "tool_search_call", "call_id": "t", "arguments": {"q": 1}}
FOUND = {"type": "tool_search_output", "call_id": "t", "tools": []}


def read(*items: Item) -> list[Any]:
    reader = InputReader(ImageFields(), Past("input"), PixelCount(), {})
    for index, item in enumerate(items):
        reader.add(item, f"input[{index}]", is_past=False)
    reader.check_answered()
    return reader.conversation.items


def nested(levels: int) -> Item:
    value: Item = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "web_search_call", "id": "ws_1"}, {"type": "web_search_call"}),
        (
            {
                "type": "web_search_call",
                "status": "completed",
                "action": {"type": "search"},
                "x": 1,
            },
            {"type": "web_search_call", "status": "completed", "action": {"type": "search"}},
        ),
        (
            {"type": "tool_search_call", "created_by": "m"},
            {
                "type": "tool_search_call",
                "call_id": None,
                "execution": "server",
                "arguments": {},
            },
        ),
        (
            {"type": "tool_search_output", "tools": None, "status": "completed"},
            {
                "type": "tool_search_output",
                "call_id": None,
                "status": "completed",
                "execution": "server",
                "tools": [],
            },
        ),
    ],
)
def test_a_search_goes_upstream_as_codex_reads_it(item: Item, expected: Item) -> None:
    assert read(item) == [expected]


def test_a_search_of_the_client_has_its_result() -> None:
    call, found = read(CALL, FOUND)
    assert (call["call_id"], call["execution"]) == ("t", "client")
    assert (found["call_id"], found["execution"]) == ("t", "client")
    assert estimate_tokens([call, found]) == 1


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([CALL], "input"),  # codex would make up a result
        ([FOUND], "input"),  # codex would drop it
        ([{**CALL, "call_id": 5}], "input[0].call_id"),
        ([{**CALL, "status": 5}], "input[0].status"),
        ([{**CALL, "execution": {}}], "input[0].execution"),
        ([{**CALL, "arguments": nested(64)}], "input[0].arguments"),
        ([CALL, {**FOUND, "tools": 5}], "input[1].tools"),
        (
            [CALL, {**FOUND, "tools": [{"type": "function", "name": "f", "x": nested(64)}]}],
            "input[1].tools",
        ),
        ([{"type": "web_search_call", "action": "search"}], "input[0].action"),
        ([{"type": "web_search_call", "action": nested(64)}], "input[0].action"),
    ],
)
def test_what_codex_could_not_read_is_named(items: list[Item], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(*items)
    assert raised.value.param == param


def test_arguments_of_any_shape_are_estimated() -> None:
    for arguments in (1, True, ["abcd"], {"a": "abcd"}):
        assert estimate_tokens(read({**CALL, "call_id": None, "arguments": arguments})) <= 2
