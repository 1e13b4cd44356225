"""Tools in the form of the Responses API: flat functions, custom tools, namespaces, those of OpenAI's own."""

from __future__ import annotations

from typing import Any

import pytest

from app.answers.tools import to_dynamic_tool
from app.api.tools import CallForm, parse_tools, with_late
from app.errors import InvalidRequest

Json = dict[str, Any]

EMPTY = {"type": "object", "properties": {}}


def function(name: Any = "f", **members: Any) -> Json:
    return {"type": "function", "name": name, **members}


def custom(name: Any = "c", **members: Any) -> Json:
    return {"type": "custom", "name": name, **members}


def space(*inner: Any, name: Any = "n", **members: Any) -> Json:
    return {"type": "namespace", "name": name, "tools": [*inner], **members}


@pytest.mark.parametrize(
    ("entry", "name", "offered", "form", "namespace"),
    [
        (function(), "f", "f", CallForm.FUNCTION, None),
        (custom(), "c", "c", CallForm.CUSTOM, None),
        (space(function()), "f", "n__f", CallForm.FUNCTION, "n"),
        (space(custom()), "c", "n__c", CallForm.CUSTOM, "n"),
        (space(function("x"), name="mcp"), "x", "mcp__x", CallForm.FUNCTION, "mcp"),
    ],
)
def test_a_tool_has_its_client_s_name_and_the_model_s(
    entry: Json, name: str, offered: str, form: CallForm, namespace: str | None
) -> None:
    (tool,) = parse_tools([entry]).tools
    assert (tool.name, tool.tool.name) == (name, offered)
    assert (tool.form, tool.namespace) == (form, namespace)
    alias = to_dynamic_tool(tool.tool)["name"]
    assert alias == tool.tool.alias
    assert alias == offered or offered.startswith("mcp__")


def test_long_names_of_a_namespace_have_an_alias() -> None:
    (tool,) = parse_tools([space(function("x" * 64), name="y" * 64)]).tools
    assert len(tool.tool.alias) <= 64


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, ""),
        ({"description": None, "format": None}, ""),
        ({"description": "d", "format": {"type": "text"}}, "d"),
        (
            {"format": {"type": "grammar", "syntax": "regex", "definition": "a+"}},
            "The input must follow this grammar (regex):\na+",
        ),
        (
            {
                "description": "d",
                "format": {"type": "grammar", "syntax": "lark", "definition": "start: A"},
            },
            "d\n\nThe input must follow this grammar (lark):\nstart: A",
        ),
    ],
)
def test_a_custom_tool_says_its_grammar(members: Json, words: str) -> None:
    (tool,) = parse_tools([custom(**members)]).tools
    assert tool.tool.description == words
    assert tool.tool.parameters["required"] == ["input"]


def test_tools_of_openai_are_left_out_and_named() -> None:
    kinds = ["web_search", "tool_search", "image_generation", "web_search"]
    found = parse_tools([function(), *({"type": kind} for kind in kinds)])
    assert [tool.name for tool in found.tools] == ["f"]
    assert found.ignored == ("tools.web_search", "tools.tool_search", "tools.image_generation")


@pytest.mark.parametrize(
    ("entry", "param", "code"),
    [
        (function(None), "name", "missing_required_parameter"),
        (function(parameters=[]), "parameters", "invalid_type"),
        (function(description=5), "description", "invalid_type"),
        (custom(None), "name", "missing_required_parameter"),
        (custom(5), "name", "invalid_type"),
        (custom("a b"), "name", "invalid_value"),
        (custom(description=5), "description", "invalid_type"),
        (custom(format="text"), "format", "invalid_type"),
        (custom(format={}), "format.type", "invalid_value"),
        (custom(format={"type": ["text"]}), "format.type", "invalid_value"),
        (custom(format={"type": "grammar"}), "format.syntax", "missing_required_parameter"),
        (
            custom(format={"type": "grammar", "syntax": "lark", "definition": 5}),
            "format.definition",
            "invalid_type",
        ),
        (space(name=None), "name", "missing_required_parameter"),
        (space(description=5), "description", "invalid_type"),
        ({**space(), "tools": {}}, "tools", "invalid_type"),
        (space(5), "tools[0]", "invalid_type"),
        (space({}), "tools[0].type", "missing_required_parameter"),
        (space({"type": "web_search"}), "tools[0].type", "invalid_value"),
        (space(space()), "tools[0].type", "invalid_value"),
        (space(function(5)), "tools[0].name", "invalid_type"),
        ({"type": "mcp"}, "type", "unsupported_parameter"),
        ({"type": {"a": 1}}, "type", "invalid_type"),
    ],
)
def test_a_mistake_is_named(entry: Json, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_tools([entry])
    assert (raised.value.param, raised.value.code) == (f"tools[0].{param}", code)


@pytest.mark.parametrize(
    "entries",
    [
        [function(), function()],
        [function("n__f"), space(function())],
        [space(function()), space(function())],
        [custom("f"), function()],
    ],
)
def test_a_name_that_is_there_twice_is_refused(entries: list[Json]) -> None:
    with pytest.raises(InvalidRequest, match="is there twice"):
        parse_tools(entries)


def test_the_same_name_in_two_namespaces_is_no_other_s() -> None:
    found = parse_tools([function(), space(function()), space(function(), name="m")])
    assert [tool.tool.name for tool in found.tools] == ["f", "n__f", "m__f"]


def test_what_comes_later_is_there_once_and_the_body_s_first() -> None:
    named = parse_tools([function(description="body")])
    late = parse_tools([function(description="late"), custom()]).tools
    again = parse_tools([custom(description="again")]).tools
    found = with_late(named, [*late, *again])
    assert [(it.name, it.tool.description) for it in found.tools] == [("f", "body"), ("c", "again")]
