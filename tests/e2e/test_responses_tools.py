"""Tools of `/v1/responses`: what the model is offered, how its calls come back, and whole loops."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.e2e.harness import MODEL, PIXEL, Gateway, Upstream
from tests.e2e.responses_api import answer, ignored, items, kinds, refusal, sent, stream

Json = dict[str, Any]

EMPTY = {"type": "object", "properties": {}}
LOOK = {"type": "function", "name": "look", "parameters": EMPTY, "strict": None}
PATCH = {
    "type": "custom",
    "name": "patch",
    "description": "Changes files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
SPACE = {
    "type": "namespace",
    "name": "crm",
    "description": "Customers.",
    "tools": [{"type": "function", "name": "find"}, {"type": "custom", "name": "note"}],
}
OK = {"items": [{"type": "message", "deltas": ["o", "k"]}]}


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def call(name: str, arguments: str = "{}", call_id: str = "call_1") -> Json:
    return {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id}


def offered(upstream: Upstream, marker: str) -> dict[str, Json]:
    return {tool["name"]: tool for tool in sent(upstream, marker)[-1].get("tools", [])}


def run(item: Any) -> Json:
    """The result of a call, as an agent gives it."""
    kind = "custom_tool_call" if item.type == "custom_tool_call" else "function_call"
    return {"type": f"{kind}_output", "call_id": item.call_id, "output": f"of {item.call_id}"}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_loop_of_the_sdk(sdk: openai.OpenAI, upstream: Upstream, *, streamed: bool) -> None:
    two = {"items": [call("look", '{"n":1}'), call("look", '{"n":2}', "call_2")]}
    marker = upstream.play([two, {"items": [call("patch", '{"input":"a\\nb"}', "call_3")]}, OK])
    talk: list[Any] = [user(marker)]
    options: Any = {"model": MODEL, "tools": [LOOK, PATCH], "store": False}
    made = []
    while True:
        if streamed:
            with sdk.responses.stream(input=talk, **options) as running:
                response: Any = running.get_final_response()
        else:
            response = sdk.responses.create(input=talk, **options)
        calls = [item for item in response.output if item.type.endswith("_call")]
        talk += [*response.output, *map(run, calls)]
        made += calls
        if not calls:
            break
    assert response.output_text == "ok"
    assert [(item.type, item.call_id) for item in made] == [
        ("function_call", "call_1"),
        ("function_call", "call_2"),
        ("custom_tool_call", "call_3"),
    ]
    assert (made[0].arguments, made[2].input) == ('{"n":1}', "a\nb")
    seen = items(upstream, marker)
    results = [item for item in seen if item["type"] == "function_call_output"]
    assert [item["output"] for item in results] == ["of call_1", "of call_2", "of call_3"]
    asked = [item for item in seen if item["type"] == "function_call"]
    assert [item["call_id"] for item in asked] == ["call_1", "call_2", "call_3"]
    assert json.loads(asked[2]["arguments"]) == {"input": "a\nb"}


def test_a_custom_tool_is_offered_as_a_function_of_one_text(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.play({"items": [call("patch", '{"input":"*** Begin"}')]})
    whole = answer(gateway, input=marker, tools=[PATCH])
    (made,) = whole["output"]
    assert (made["type"], made["name"], made["input"]) == ("custom_tool_call", "patch", "*** Begin")
    tool = offered(upstream, marker)["patch"]
    assert tool["type"] == "function"
    assert list(tool["parameters"]["properties"]) == ["input"]
    assert "Changes files." in tool["description"]
    assert "(lark):\nstart: /.+/" in tool["description"]
    assert whole["tools"] == [PATCH]
    events = stream(gateway, input=marker, tools=[PATCH])
    assert kinds(events)[2:-1] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]


def test_tools_of_a_namespace_have_their_names_apart(gateway: Gateway, upstream: Upstream) -> None:
    first = {"items": [call("crm__find"), call("crm__note", '{"input":"n"}', "call_2")]}
    marker = upstream.play([first, OK])
    tools = [{**LOOK, "name": "find"}, SPACE]
    whole = answer(gateway, input=marker, tools=tools)
    found, noted = whole["output"]
    assert (found["name"], found["namespace"], found["type"]) == ("find", "crm", "function_call")
    assert (noted["name"], noted["namespace"], noted["input"]) == ("note", "crm", "n")
    assert set(offered(upstream, marker)) == {"find", "crm__find", "crm__note"}
    results = [
        {"type": "function_call_output", "call_id": "call_1", "output": "1"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "2"},
    ]
    answer(gateway, input=[user(marker), *whole["output"], *results], tools=tools)
    names = [it["name"] for it in items(upstream, marker) if it["type"] == "function_call"]
    assert names == ["crm__find", "crm__note"]


def test_tools_among_the_items_are_offered(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [call("crm__find")]})
    more = {"type": "additional_tools", "role": "developer", "tools": [SPACE, LOOK]}
    whole = answer(gateway, input=[more, user(marker)], tools=[{"type": "web_search"}])
    assert whole["output"][0]["namespace"] == "crm"
    assert set(offered(upstream, marker)) == {"look", "crm__find", "crm__note"}
    assert ignored(whole) == ["tools.web_search"]
    assert whole["tools"] == [{"type": "web_search"}]


def test_a_namespaced_function_of_a_reserved_name_comes_back(
    gateway: Gateway, upstream: Upstream
) -> None:
    space = {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "x"}]}
    probe = upstream.say("ok")
    answer(gateway, input=probe, tools=[space])
    (alias,) = offered(upstream, probe)
    marker = upstream.play({"items": [call(alias)]})
    (made,) = answer(gateway, input=marker, tools=[space])["output"]
    assert (made["name"], made["namespace"]) == ("x", "mcp")


@pytest.mark.parametrize(
    ("choice", "names", "is_told"),
    [
        (None, {"look", "patch", "crm__find", "crm__note"}, False),
        ("auto", {"look", "patch", "crm__find", "crm__note"}, False),
        ("none", set(), False),
        ({"type": "none"}, set(), False),
        ({"type": "function", "name": "look"}, {"look"}, True),
        ({"type": "custom", "name": "patch"}, {"patch"}, True),
        ({"type": "function", "name": "find"}, {"crm__find"}, True),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "look"}, {"type": "custom", "name": "note"}],
            },
            {"look", "crm__note"},
            False,
        ),
    ],
)
def test_a_choice_of_tools(
    gateway: Gateway, upstream: Upstream, choice: Any, names: set[str], *, is_told: bool
) -> None:
    made = [call(min(names))] if is_told else [{"type": "message", "deltas": ["ok"]}]
    marker = upstream.play({"items": made})
    answer(gateway, input=marker, tools=[LOOK, PATCH, SPACE], tool_choice=choice)
    assert set(offered(upstream, marker)) == names
    told = [it for it in items(upstream, marker) if "must call" in json.dumps(it)]
    assert bool(told) == is_told


def test_one_call_at_a_time(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [call("look"), call("look", call_id="call_2")]})
    whole = answer(gateway, input=marker, tools=[LOOK], parallel_tool_calls=False)
    assert [item["call_id"] for item in whole["output"]] == ["call_1"]
    assert whole["parallel_tool_calls"] is False


def test_calls_without_an_id_get_one(gateway: Gateway, upstream: Upstream) -> None:
    made = [
        {"type": "function_call", "name": "look", "arguments": "{}", "call_id": same}
        for same in ("c", "c")
    ]
    marker = upstream.play({"items": made})
    whole = answer(gateway, input=marker, tools=[LOOK])
    ids = [item["call_id"] for item in whole["output"]]
    assert len(set(ids)) == 2
    assert len({item["id"] for item in whole["output"]}) == 2


def test_an_image_in_a_custom_output_is_seen(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    asked = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "x", "id": None}
    result: dict[str, Any] = {"type": "custom_tool_call_output", "call_id": "c"}
    result |= {"output": [{"type": "input_image", "image_url": PIXEL, "detail": "auto"}]}
    answer(gateway, input=[user(marker), asked, result], tools=[PATCH])
    (seen,) = [it for it in items(upstream, marker) if it["type"] == "function_call_output"]
    assert [part["type"] for part in seen["output"]] == ["input_image"]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"tools": "look"}, "invalid_type", "tools"),
        ({"tools": [5]}, "invalid_type", "tools[0]"),
        ({"tools": [{"name": "f"}]}, "missing_required_parameter", "tools[0].type"),
        ({"tools": [{"type": ["f"]}]}, "invalid_type", "tools[0].type"),
        ({"tools": [{"type": "mcp"}]}, "unsupported_parameter", "tools[0].type"),
        ({"tools": [{"type": "file_search"}]}, "unsupported_parameter", "tools[0].type"),
        ({"tools": [{"type": "code_interpreter"}]}, "unsupported_parameter", "tools[0].type"),
        ({"tools": [{"type": "custom"}]}, "missing_required_parameter", "tools[0].name"),
        (
            {"tools": [{**PATCH, "format": {"type": "regex"}}]},
            "invalid_value",
            "tools[0].format.type",
        ),
        ({"tools": [{**SPACE, "tools": None}]}, "invalid_type", "tools[0].tools"),
        (
            {"tools": [{**SPACE, "tools": [{"type": "namespace"}]}]},
            "invalid_value",
            "tools[0].tools[0].type",
        ),
        ({"tools": [LOOK, LOOK]}, "invalid_value", "tools[1].name"),
        ({"tools": [LOOK], "tool_choice": "any"}, "invalid_value", "tool_choice"),
        (
            {"tools": [LOOK], "tool_choice": {"type": "function", "name": "g"}},
            "invalid_value",
            "tool_choice.name",
        ),
        (
            {"tools": [LOOK], "tool_choice": {"type": "web_search"}},
            "unsupported_parameter",
            "tool_choice",
        ),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"tool_choice": {"type": {}}}, "invalid_value", "tool_choice"),
    ],
)
def test_a_mistake_is_named(gateway: Gateway, body: Json, code: str, param: str) -> None:
    status, got, where, _ = refusal(gateway, input="hi", **body)
    assert (status, got, where) == (400, code, param)


def test_what_today_s_agents_send_by_habit(gateway: Gateway, upstream: Upstream) -> None:
    """Codex, the Agents SDK and others offer these beside their functions, and can do without."""
    marker = upstream.say("ok")
    whole = answer(
        gateway,
        input=marker,
        tools=[
            LOOK,
            PATCH,
            {"type": "web_search", "external_web_access": True},
            {"type": "tool_search", "execution": "client"},
            {"type": "image_generation", "output_format": "png"},
        ],
        tool_choice="auto",
        temperature=1,
        parallel_tool_calls=True,
        client_metadata={"x": "y"},
        include=["reasoning.encrypted_content"],
        reasoning={"effort": "none", "context": "auto"},
        prompt_cache_key="k",
        store=False,
    )
    assert ignored(whole) == [
        "client_metadata",
        "tools.image_generation",
        "tools.tool_search",
        "tools.web_search",
    ]
