import copy
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.tools import (
    BUILT_IN,
    Tool,
    alias_of,
    is_plain,
    loses_something,
    names_by_alias,
    parse_function,
    to_dynamic_tool,
)

ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-"
NAMES = (
    st.text(ALLOWED, min_size=1, max_size=64)
    | st.sampled_from(sorted(BUILT_IN))
    | st.builds(
        lambda prefix, rest: (prefix + rest)[:64],
        st.sampled_from(["fn_", "mcp__", "functions.", "a:b:", "_", "-"]),
        st.text(ALLOWED, max_size=64),
    )
)


# Aliases


@pytest.mark.parametrize(
    "name", ["f", "get_weather", "Get-Weather", "0", "a" * 64, "mcp_x", "mcp_", "MCP", "fn"]
)
def test_a_plain_name_is_its_own_alias(name: str) -> None:
    assert is_plain(name)
    assert alias_of(name) == name


@pytest.mark.parametrize(
    "name", [*sorted(BUILT_IN), "mcp__a__b", "mcp__", "fn_x", "a.b", "a:b", "functions.f", "." * 64]
)
def test_a_name_that_codex_would_not_take_travels_under_another(name: str) -> None:
    alias = alias_of(name)
    assert not is_plain(name)
    assert re.fullmatch("fn_[a-zA-Z0-9_-]{1,48}_[0-9a-f]{8}", alias)
    assert names_by_alias([name]) == {alias: name}


def test_an_alias_is_the_same_in_every_process() -> None:
    assert alias_of("exec_command") == "fn_exec_command_aa6e9988"


@given(NAMES)
def test_every_alias_is_a_name_that_codex_takes(name: str) -> None:
    alias = alias_of(name)
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", alias)
    assert alias not in BUILT_IN
    assert not alias.startswith("mcp__")
    assert names_by_alias([name])[alias] == name


@given(st.lists(NAMES, unique=True, max_size=30))
def test_no_two_names_have_the_same_alias(names: list[str]) -> None:
    by_alias = names_by_alias(names)
    assert len(by_alias) == len(names)
    assert [by_alias[alias_of(name)] for name in names] == names


@given(NAMES)
def test_a_tool_that_is_named_like_an_alias_is_another_tool(name: str) -> None:
    twins = [name, alias_of(name)] if alias_of(name) != name else [name]
    assert [names_by_alias(twins)[alias_of(twin)] for twin in twins] == twins


# What codex hands on

PERSON = {
    "type": "object",
    "description": "d",
    "properties": {
        "name": {"type": "string", "enum": ["a", 1, None, {"pattern": "x"}]},
        "tags": {"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1},
        "either": {"anyOf": [{"type": "string"}, {"oneOf": [{"$ref": "#/$defs/kind"}]}]},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"kind": {"type": "string"}},
}
DROPPED = [
    *("pattern", "format", "default", "title", "examples", "const", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems"),
    *("uniqueItems", "minProperties", "maxProperties", "patternProperties", "propertyNames"),
    *("prefixItems", "contains", "allOf", "not", "if", "then", "else", "dependentRequired"),
    *(
        "definitions",
        "$schema",
        "$id",
        "$comment",
        "deprecated",
        "readOnly",
        "nullable",
        "brandNew",
    ),
]

PLACES: dict[str, Any] = {
    "the root": lambda schema: {**PERSON, **schema},
    "a property": lambda schema: {"type": "object", "properties": {"a": schema}},
    "an item": lambda schema: {"type": "array", "items": schema},
    "an alternative": lambda schema: {"anyOf": [{"type": "string"}, schema]},
    "one of": lambda schema: {"oneOf": [schema]},
    "a definition": lambda schema: {"type": "object", "$defs": {"a": schema}},
    "other properties": lambda schema: {"type": "object", "additionalProperties": schema},
    "deep inside": lambda schema: {
        "properties": {"a": {"items": {"anyOf": [{"properties": {"b": schema}}]}}}
    },
}


def test_a_keyword_that_codex_drops_is_a_loss_wherever_it_is() -> None:
    missed = [
        f"{keyword} in {place}"
        for keyword in DROPPED
        for place, inside in PLACES.items()
        if not loses_something(inside({"type": "string", keyword: 1}))
    ]
    assert missed == []


def test_a_property_that_is_named_like_a_keyword_is_none() -> None:
    text = {"type": "string"}
    keywords = [*DROPPED, "type", "enum", "properties", "$ref"]
    taken_for_one = [
        f"{keyword} in {place}"
        for keyword in keywords
        for place, inside in PLACES.items()
        if loses_something(
            inside({"type": "object", "properties": {keyword: text}, "required": [keyword]})
        )
    ]
    taken_for_one += [
        f"{keyword}, a definition"
        for keyword in keywords
        if loses_something({"type": "object", "$defs": {keyword: text}})
    ]
    assert taken_for_one == []


@pytest.mark.parametrize("kind", ["array", ["array", "null"]])
def test_an_array_of_anything_is_a_loss_since_codex_says_of_strings(kind: Any) -> None:
    assert loses_something({"type": "object", "properties": {"a": {"type": kind}}})
    assert not loses_something({"type": kind, "items": {}})


@pytest.mark.parametrize("kind", [None, 5, {}, "arrays", [None]])
def test_a_type_that_is_none_is_no_array(kind: Any) -> None:
    assert not loses_something({"type": kind})


@pytest.mark.parametrize("schema", [PERSON, {}, {"type": "object"}, True, {"$ref": "#/$defs/a"}])
def test_what_codex_keeps_is_no_loss(schema: Any) -> None:
    assert not loses_something(schema)


def test_a_schema_that_loses_nothing_goes_alone() -> None:
    assert to_dynamic_tool(Tool("f", "what it does", PERSON)) == {
        "type": "function",
        "name": "f",
        "description": "what it does",
        "inputSchema": PERSON,
    }


@pytest.mark.parametrize("description", ["", "what it does"])
def test_a_schema_that_loses_something_goes_along_whole(description: str) -> None:
    schema = {"type": "object", "properties": {"a": {"const": 1, "pattern": "^é$"}}}
    spec = to_dynamic_tool(Tool("f", description, schema))
    assert spec["inputSchema"] == schema
    told, _, written = spec["description"].partition("The arguments must follow this JSON schema: ")
    assert told.strip() == description
    assert orjson.loads(written) == schema


@pytest.mark.parametrize("description", ["", "what it does"])
def test_the_model_learns_how_the_user_calls_it(description: str) -> None:
    spec = to_dynamic_tool(Tool("functions.exec", description, {"type": "object"}))
    assert spec["name"] == alias_of("functions.exec")
    sentence = "The user knows this function as functions.exec."
    assert spec["description"] == f"{description}\n\n{sentence}".strip()


def test_both_are_said_where_both_are_needed() -> None:
    spec = to_dynamic_tool(Tool("shell", "d", {"type": "object", "title": "t"}))
    first, second, third = spec["description"].split("\n\n")
    assert (first, second) == ("d", "The user knows this function as shell.")
    assert third.startswith("The arguments must follow this JSON schema: {")


# Reading a definition

EMPTY = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ({"name": "f"}, Tool("f", "", EMPTY)),
        ({"name": "f", "description": None, "parameters": None}, Tool("f", "", EMPTY)),
        ({"name": "f", "description": "d", "parameters": {}}, Tool("f", "d", EMPTY)),
        ({"name": "f", "strict": True, "brand_new": 1}, Tool("f", "", EMPTY)),
        ({"name": "f", "parameters": PERSON}, Tool("f", "", PERSON)),
        (
            {"name": "f", "parameters": {"properties": {"a": {}}}},
            Tool("f", "", {"type": "object", "properties": {"a": {}}}),
        ),
        ({"name": "f", "parameters": {"type": "object"}}, Tool("f", "", EMPTY)),
        (
            {"name": "f", "parameters": {"properties": {"minItems": {"minItems": 1.0}}}},
            Tool("f", "", {"type": "object", "properties": {"minItems": {"minItems": 1}}}),
        ),
        (
            {"name": "f", "parameters": {"const": {"minItems": 1.5}, "items": {"minItems": 1e30}}},
            Tool("f", "", {**EMPTY, "const": {"minItems": 1.5}, "items": {"minItems": 1e30}}),
        ),
        ({"name": "a.b:c-d_E9"}, Tool("a.b:c-d_E9", "", EMPTY)),
    ],
)
def test_a_function_is_read(function: dict[str, Any], expected: Tool) -> None:
    before = copy.deepcopy(function)
    assert parse_function(function, "functions[0]") == expected
    assert function == before


@pytest.mark.parametrize("member", ["properties", "required", "additionalProperties", "$defs"])
def test_a_member_that_is_null_is_absent(member: str) -> None:
    read = parse_function({"name": "f", "parameters": {"type": "object", member: None}}, "f")
    assert read.parameters == {"type": "object", "properties": {}}
