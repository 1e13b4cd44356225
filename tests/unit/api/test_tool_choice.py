"""`tool_choice`: what the model is offered, whether it has to call, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.tool_choice import parse_choice, without_tools
from app.api.tools import parse_tools
from app.errors import InvalidRequest

TOOLS = parse_tools(
    [
        {"type": "function", "name": "f"},
        {"type": "custom", "name": "c"},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]},
    ]
).tools
F = {"type": "function", "name": "f"}


def allowed(mode: Any, *tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": [*tools]}


@pytest.mark.parametrize(
    ("wanted", "offered", "is_required"),
    [
        ("auto", ["f", "c", "n__g"], False),
        ({"type": "auto"}, ["f", "c", "n__g"], False),
        ("none", [], False),
        ("required", ["f", "c", "n__g"], True),
        ({"type": "required"}, ["f", "c", "n__g"], True),
        (F, ["f"], True),
        ({"type": "function", "function": {"name": "f"}}, ["f"], True),
        ({"type": "custom", "name": "c"}, ["c"], True),
        ({"type": "function", "name": "g"}, ["n__g"], True),
        ({"type": "function", "name": "n__g"}, ["n__g"], True),
        (allowed("auto", F), ["f"], False),
        (allowed("required", F, {"type": "custom", "name": "c"}), ["f", "c"], True),
        (allowed("auto", {"type": "web_search"}), [], False),
        (allowed("required", {"type": "web_search"}), [], False),
        ({"type": "allowed_tools", "allowed_tools": allowed("auto", F)}, ["f"], False),
        (allowed("auto"), [], False),
    ],
)
def test_a_choice(wanted: Any, offered: list[str], *, is_required: bool) -> None:
    choice = parse_choice(wanted, TOOLS, "tool_choice")
    assert [tool.name for tool in choice.offered] == offered
    assert [tool.name for tool in choice.tools] == ["f", "c", "n__g"]
    assert choice.is_required == is_required
    assert bool(choice.instruction) == is_required


def test_a_name_means_the_tool_of_that_very_name_before_one_of_a_namespace() -> None:
    space = {"type": "namespace", "name": "n", "tools": [F]}
    choice = parse_choice(F, parse_tools([space, F]).tools, "tool_choice")
    assert [tool.name for tool in choice.offered] == ["f"]


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ("any", "tool_choice"),
        (5, "tool_choice"),
        (["auto"], "tool_choice"),
        ({}, "tool_choice.type"),
        ({"type": ["auto"]}, "tool_choice.type"),
        ({"type": {}}, "tool_choice.type"),
        ({"type": "mcp"}, "tool_choice.type"),
        ({"type": "function"}, "tool_choice.function.name"),
        ({"type": "function", "name": 5}, "tool_choice.name"),
        ({"type": "function", "name": "h"}, "tool_choice.name"),
        ({"type": "function", "function": "f"}, "tool_choice.function"),
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        ({"type": "allowed_tools", "allowed_tools": 5}, "tool_choice.allowed_tools"),
        ({"type": "allowed_tools", "tools": []}, "tool_choice.mode"),
        (allowed("none", F), "tool_choice.mode"),
        (allowed(["auto"], F), "tool_choice.mode"),
        ({**allowed("auto"), "tools": {}}, "tool_choice.tools"),
        (allowed("auto", 5), "tool_choice.tools[0]"),
        (allowed("auto", {"type": ["web_search"]}), "tool_choice.tools[0].type"),
        (allowed("auto", {"type": "function", "name": "h"}), "tool_choice.tools[0].name"),
    ],
)
def test_a_mistake_is_named(wanted: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_choice(wanted, TOOLS, "tool_choice")
    assert raised.value.param == param


@pytest.mark.parametrize("wanted", ["none", "auto", {"type": "auto"}, {"type": "none"}])
def test_without_tools_nothing_may_be_asked(wanted: Any) -> None:
    without_tools(wanted, "tool_choice", "tools")


@pytest.mark.parametrize("wanted", ["required", 5, [], {}, {"type": ["auto"]}, F])
def test_without_tools_anything_else_is_refused(wanted: Any) -> None:
    with pytest.raises(InvalidRequest, match="only allowed when 'tools' are given"):
        without_tools(wanted, "tool_choice", "tools")
