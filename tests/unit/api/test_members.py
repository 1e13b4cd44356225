"""What of a body is not read is named, and null is absent, wherever it stands."""

import copy
from typing import Any

import pytest

from app.api.chat_completions.request import ChatRequest
from app.api.chat_completions.request import parse_request as parse_chat
from app.api.completions.request import parse_request as parse_completion
from app.api.members import MOST_NAMES, BodyPass, BodyShape, Kinds, Members, members

Json = dict[str, Any]

PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA="
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
CALL: Json = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def said(content: Any = "hi", role: Any = "user", **more: Any) -> Json:
    return {"role": role, "content": content, **more}


def part(**more: Any) -> Json:
    return {"type": "text", "text": "hi", **more}


def tool(more: Json | None = None, **function: Any) -> Json:
    return {
        "type": "function",
        "function": {"name": "f", "parameters": SCHEMA, **function},
        **(more or {}),
    }


def round_of(call: Json, *, result: Any = "42", **more: Any) -> list[Json]:
    asked = said(None, "assistant", tool_calls=[call], **more)
    return [said(), asked, {"role": "tool", "tool_call_id": "c1", "content": result}]


def chat(**body: Any) -> ChatRequest:
    given = {"model": "gpt", "messages": [said()], **body}
    before = copy.deepcopy(given)
    request = parse_chat(given, max_choices=8, shows_reasoning=True)
    assert given == before
    return request


FORM = {"name": "n", "schema": {"type": "object"}}

NAMED: list[tuple[Json, tuple[str, ...]]] = [
    ({"prompt_cache_options": {"a": 1}}, ("prompt_cache_options",)),
    ({"moderation": {"model": "x"}}, ("moderation",)),
    ({"top_k": 0}, ("top_k",)),
    ({"thinking": {"type": "disabled"}}, ("thinking",)),
    ({"reasoning": {"summary": "auto", "effort": "low"}}, ("reasoning.summary",)),
    ({"reasoning": {"exclude": False}}, ("reasoning.exclude",)),
    (
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        ("stream_options.include_obfuscation",),
    ),
    ({"messages": [said(thinking="hm")]}, ("messages.thinking",)),
    ({"messages": [said("s", "system", cache_control={})]}, ("messages.cache_control",)),
    ({"messages": [said([part(cache_control={})])]}, ("messages.content.cache_control",)),
    ({"messages": [said([part(image_url="x")])]}, ("messages.content.image_url",)),
    ({"messages": [said("a", "assistant", reasoning="x")]}, ("messages.reasoning",)),
    ({"messages": [said("a", "assistant", audio={"id": "x"})]}, ("messages.audio",)),
    ({"messages": [said(tool_call_id="x")]}, ("messages.tool_call_id",)),
    (
        {"messages": round_of({**CALL, "extra_content": {}})},
        ("messages.tool_calls.extra_content",),
    ),
    (
        {"messages": round_of({**CALL, "function": {**CALL["function"], "made_up": {}}})},
        ("messages.tool_calls.function.made_up",),
    ),
    (
        {"messages": [said([{"type": "image_url", "image_url": {"url": PNG, "format": "png"}}])]},
        ("messages.content.image_url.format",),
    ),
    ({"tools": [tool({"cache_control": {}})]}, ("tools.cache_control",)),
    ({"tools": [tool(strict=True, eager=1)]}, ("tools.function.eager", "tools.function.strict")),
    ({"functions": [{"name": "f", "strict": True}]}, ("functions.strict",)),
    (
        {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "f"}, "a": 1}},
        ("tool_choice.a",),
    ),
    (
        {"tools": [tool()], "functions": [{"name": "g"}], "function_call": "auto"},
        ("function_call", "functions"),
    ),
    ({"functions": [{"name": "g"}], "tool_choice": "required"}, ("tool_choice",)),
    (
        {"response_format": {"type": "text", "json_schema": FORM}},
        ("response_format.json_schema",),
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {**FORM, "version": 2}}},
        ("response_format.json_schema.version",),
    ),
    ({"max_tokens": 5, "max_completion_tokens": 6}, ("max_tokens",)),
    # What changes nothing, and what our own answers have.
    ({"stream": True, "stream_options": {"include_obfuscation": False}}, ()),
    ({"max_tokens": 5, "max_completion_tokens": 5}, ()),
    ({"tools": [tool(strict=False)]}, ()),
    ({"tools": [], "functions": []}, ()),
    ({"functions": [{"name": "g"}], "tool_choice": "auto"}, ()),
    (
        {
            "messages": [
                said(
                    "a",
                    "assistant",
                    refusal=None,
                    annotations=[],
                    audio=None,
                    function_call=None,
                    tool_calls=None,
                    reasoning_content="hm",
                )
            ]
        },
        (),
    ),
    ({"messages": round_of({**CALL, "index": 0}, refusal="no", annotations=[{"a": 1}])}, ()),
    (
        {
            "messages": [
                said(None, "assistant", function_call={"name": "f", "arguments": ""}),
                said("42", "function", name="f"),
            ]
        },
        (),
    ),
    ({"tools": [tool(parameters={**SCHEMA, "x-order": 1})]}, ()),
]


@pytest.mark.parametrize(("body", "names"), NAMED)
def test_whatever_is_not_read_is_named(body: Json, names: tuple[str, ...]) -> None:
    assert chat(**body).ignored == names


def test_a_name_is_told_once_in_one_order_and_without_its_place() -> None:
    talk = [said([part(b=1), part(b=2, a=1)], zeta=1), said(zeta=2, name="ann")]
    body = {"messages": talk, "zz": 1, "aa": 1, "user": "x", "seed": 1}
    names = ("seed", "user", "aa", "messages.content.a", "messages.content.b", "messages.name")
    assert chat(**body).ignored == (*names, "messages.zeta", "zz")
    assert chat(**dict(reversed(body.items()))).ignored == chat(**body).ignored


def test_names_are_bounded_in_number_and_in_length() -> None:
    ignored = chat(**{f"{'x' * 1000}{i}": 1 for i in range(5)}).ignored
    assert ignored == ("x" * 64,)
    many = chat(messages=[said(**{f"m{i}": 1}) for i in range(1000)]).ignored
    assert len(many) == MOST_NAMES


NULLS: list[Json] = [
    {"messages": round_of({**CALL, "type": None, "index": None})},
    {"messages": round_of({**CALL, "custom": None}, name=None, refusal=None, audio=None)},
    {"messages": round_of(CALL, result=None)},
    {"messages": round_of(CALL, function_call=None, annotations=None, reasoning_content=None)},
    {"messages": round_of({**CALL, "function": {**CALL["function"], "parsed": None}})},
    {"messages": [said("a", "assistant", tool_calls=None, function_call=None)]},
    {"messages": [said(None, "assistant", refusal=None, tool_calls=None)]},
    {"messages": [said(name=None, tool_call_id=None, tool_calls=None)]},
    {"messages": [said([part(image_url=None, cache_control=None)])]},
    {
        "messages": [
            said([{"type": "image_url", "text": None, "image_url": {"url": PNG, "detail": None}}])
        ]
    },
    {
        "messages": [
            said(None, "assistant", function_call={"name": "f", "arguments": "", "id": None}),
            said(None, "function", name="f"),
        ]
    },
    {"tools": [tool({"strict": None, "id": None}, description=None, strict=None)]},
    {"tools": [tool(parameters=None)]},
    {"tools": [tool(parameters={"type": None})]},
    {"tools": [tool(parameters={"type": None, "properties": None, "required": None})]},
    {"tools": [tool(parameters={"properties": {"a": {"type": None, "description": None}}})]},
    {"tools": [tool(parameters={**SCHEMA, "additionalProperties": None, "$defs": None})]},
    {"functions": [{"name": "f", "description": None, "parameters": {"type": None}}]},
    {
        "tools": [tool()],
        "tool_choice": {"type": "function", "function": {"name": "f", "x": None}, "y": None},
    },
    {"tools": None, "tool_choice": None, "functions": None, "function_call": None},
    {"response_format": {"type": "text", "json_schema": None}},
    {
        "response_format": {
            "type": "json_schema",
            "json_schema": {**FORM, "strict": None, "description": None, "x": None},
        }
    },
    {"stream": True, "stream_options": {"include_usage": None, "include_obfuscation": None}},
    {"reasoning": {"effort": None, "summary": None}, "reasoning_effort": None},
    {"service_tier": None, "verbosity": None, "stop": None, "n": None, "audio": None},
]


@pytest.mark.parametrize("body", NULLS)
def test_null_is_absent_wherever_it_stands(body: Json) -> None:
    assert chat(**body).ignored == ()


def test_what_is_null_leaves_the_rest_as_it_is() -> None:
    first, *others = chat(messages=round_of({**CALL, "type": None}, name=None)).items
    assert first == chat().items[0]
    assert tuple(others) == chat(messages=round_of(CALL)).items[1:]


# Completions


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"brand_new": 1, "user": "x", "seed": 1}, ("seed", "user", "brand_new")),
        ({"stream": True, "stream_options": {"a": 1, "b": None}}, ("stream_options.a",)),
        ({"logprobs": 0, "best_of": 1, "suffix": "", "temperature": 1, "x": None}, ()),
    ],
)
def test_a_completion_names_what_it_does_not_read(body: Json, names: tuple[str, ...]) -> None:
    request = parse_completion({"model": "gpt", "prompt": "x", **body}, max_choices=8)
    assert request.ignored == names


# The pass itself

SHAPE = BodyShape(
    Members(
        frozenset({"a", "list", "one"}),
        {
            "list": Kinds("kind", {"x": members("kind", deep=members("b"))}),
            "one": members("c"),
        },
        {"h": (1, "1")},
    )
)


@pytest.mark.parametrize(
    ("given", "left", "names"),
    [
        ({}, {}, ()),
        ({"a": None, "z": None}, {}, ()),
        ({"h": 1}, {"h": 1}, ()),
        ({"h": 2}, {"h": 2}, ("h",)),
        ({"one": {"c": None}}, {"one": {}}, ()),
        ({"one": [1, {"c": None, "d": 1}]}, {"one": [1, {"d": 1}]}, ("one.d",)),
        ({"one": "text"}, {"one": "text"}, ()),
        ({"list": [{"kind": "y", "q": None}]}, {"list": [{"kind": "y", "q": None}]}, ()),
        ({"list": [{"kind": 5, "q": 1}, None]}, {"list": [{"kind": 5, "q": 1}, None]}, ()),
        (
            {"list": [{"kind": "x", "deep": {"b": None, "e": [None]}}, {"kind": "x"}]},
            {"list": [{"kind": "x", "deep": {"e": [None]}}, {"kind": "x"}]},
            ("list.deep.e",),
        ),
    ],
)
def test_one_pass(given: Json, left: Json, names: tuple[str, ...]) -> None:
    before = copy.deepcopy(given)
    body_pass = BodyPass()
    assert body_pass.over(given, SHAPE) == left
    assert body_pass.names() == names
    assert given == before


def test_a_body_without_nulls_is_not_copied() -> None:
    given = {"a": 1, "list": [{"kind": "x", "deep": {"b": 1}}], "one": {"c": 1}}
    assert BodyPass().over(given, SHAPE) is given


def test_an_object_that_does_not_say_its_kind_may_be_of_one() -> None:
    kinds = Kinds("type", {"a": members("type", "x"), "b": members("type")}, otherwise="a")
    body_pass = BodyPass()
    shape = BodyShape(members(entries=kinds))
    given = {"entries": [{"x": None, "y": 1}, {"type": None, "z": 1}, {"type": "c", "u": 1}]}
    assert body_pass.over(given, shape) == {
        "entries": [{"y": 1}, {"z": 1}, {"type": "c", "u": 1}],
    }
    assert body_pass.names() == ("entries.y", "entries.z")
