"""Function calling: native calls through codex, as OpenAI sends them, and nothing that runs here."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

from app.answers.tools import BUILT_IN, alias_of
from tests.e2e.harness import IS_SHARED, MODEL, Gateway, Upstream, ask, wait_until
from tests.e2e.raw_http import stream_frames


def call(name: str, arguments: str, call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id}


def tool(name: str, **schema: Any) -> ChatCompletionFunctionToolParam:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, **schema}
    return {
        "type": "function",
        "function": {"name": name, "description": "d", "parameters": parameters},
    }


WEATHER = tool("get_weather", required=["city"])
PARALLEL = [
    call("get_weather", '{"city": "Z\\u00fcrich"}', "call_A"),
    call("get_weather", '{"city":"B"}', "call_B"),
]


def test_parallel_calls_are_answered_whole(gateway: Gateway, upstream: Upstream) -> None:
    usage = {"input_tokens": 50, "cached_tokens": 40, "output_tokens": 9}
    marker = upstream.play({"items": PARALLEL, "usage": usage})
    answer = gateway.post(ask(marker, tools=[WEATHER])).json()
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {
            "id": item["call_id"],
            "type": "function",
            "function": {"name": "get_weather", "arguments": item["arguments"]},
        }
        for item in PARALLEL
    ]
    assert answer["usage"]["total_tokens"] == 59
    assert answer["codex_metadata"]["usage_estimated"] is False
    (request,) = upstream.control.requests(marker)
    (offered,) = request["body"]["tools"]
    assert offered["name"] == "get_weather"


def test_calls_are_streamed_as_openai_streams_them(gateway: Gateway, upstream: Upstream) -> None:
    items = [{"type": "message", "deltas": ["Let me ", "look."]}, *PARALLEL]
    _, frames = stream_frames(gateway, ask(upstream.play({"items": items}), tools=[WEATHER]))
    deltas = [frame["choices"][0]["delta"] for frame in frames[1:-2]]
    assert deltas[:2] == [{"content": "Let me "}, {"content": "look."}]
    calls = [delta["tool_calls"][0] for delta in deltas[2:]]
    assert [c["index"] for c in calls] == [0, 0, 1, 1]
    assert [c.get("id") for c in calls] == ["call_A", None, "call_B", None]
    assert [c["function"].get("name") for c in calls] == ["get_weather", None, "get_weather", None]
    assert [c["function"]["arguments"] for c in calls[1::2]] == [i["arguments"] for i in PARALLEL]
    assert frames[-2]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("name", ["nope", "get_weather"])
@pytest.mark.parametrize("arguments", ["{broken", "", "[1]", '{"city": 5}'])
def test_what_the_model_gets_wrong_reaches_the_client(
    gateway: Gateway, upstream: Upstream, name: str, arguments: str
) -> None:
    marker = upstream.play(
        [
            {"items": [call(name, arguments, "call_1")]},
            {"items": [{"type": "message", "text": "2"}]},
        ]
    )
    (choice,) = gateway.post(ask(marker, tools=[WEATHER])).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (called,) = choice["message"]["tool_calls"]
    assert called["function"] == {"name": name, "arguments": arguments}
    assert choice["message"]["content"] is None


@pytest.mark.parametrize("name", ["get weather!", "", "x" * 80])
def test_a_call_that_the_model_made_up_can_be_given_back(
    gateway: Gateway, upstream: Upstream, name: str
) -> None:
    marker = upstream.play(
        [{"items": [call(name, "{}", "call_1")]}, {"items": [{"type": "message", "text": "I see"}]}]
    )
    body = ask(marker, tools=[WEATHER], parallel_tool_calls=False)
    message = gateway.post(body).json()["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["name"] == name
    result = {"role": "tool", "tool_call_id": "call_1", "content": "there is no such tool"}
    answer = gateway.post({**body, "messages": [*body["messages"], message, result]})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "I see"


ODD_NAMES = (
    *(
        "exec_command",
        "shell",
        "apply_patch",
        "view_image",
        "web_search",
        "update_plan",
        "write_stdin",
    ),
    *(
        "local_shell",
        "tool_search",
        "request_user_input",
        "spawn_agent",
        "wait",
        "sleep",
        "read_file",
    ),
    *(
        "mcp",
        "MCP",
        "mcp_",
        "mcp-x",
        "mcp__",
        "skills",
        "functions",
        "_x",
        "x_",
        "-x",
        "x-",
        "0",
        "42",
    ),
    *("mcp__server__tool", "a.b", "ns:tool", "container.exec", "fn_x", "x" * 64),
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_tool_may_have_any_name_and_reaches_the_client(
    gateway: Gateway, upstream: Upstream, name: str
) -> None:
    probe = upstream.play({"items": [{"type": "message", "text": "x"}]})
    gateway.post(ask(probe, tools=[tool(name)]))
    (request,) = upstream.control.requests(probe)
    (offered,) = request["body"]["tools"]
    marker = upstream.play({"items": [call(offered["name"], '{"city":"a"}', "call_1")]})
    (choice,) = gateway.post(ask(marker, tools=[tool(name)])).json()["choices"]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == name
    assert len(upstream.control.requests(marker)) == 1


@pytest.mark.parametrize("choice", ["auto", {"type": "function", "function": {"name": "ns:x"}}])
def test_a_tool_that_codex_refuses_is_named(gateway: Gateway, choice: Any) -> None:
    odd = tool("ns:x", encrypted=5)  # a keyword of codex's own, in a form that it does not read
    answer = gateway.post(ask("x", tools=[WEATHER, odd], tool_choice=choice))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "tools[1].function.name")
    assert "The tool 'ns:x' was refused by codex: " in error["message"]
    assert "supported for ns:x" in error["message"]


def test_a_function_that_codex_refuses_is_named(gateway: Gateway) -> None:
    functions = [tool("f")["function"], tool("g", encrypted=5)["function"]]
    answer = gateway.post(ask("x", functions=functions))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "functions[1].name")
    assert "The tool 'g' was refused" in error["message"]


def test_tools_named_like_every_built_in_reach_the_client_together(
    gateway: Gateway, upstream: Upstream
) -> None:
    names = sorted(BUILT_IN)
    calls = [call(alias_of(name), '{"city":"a"}', f"call_{name}") for name in names]
    marker = upstream.play({"items": calls})
    (choice,) = gateway.post(ask(marker, tools=[tool(name) for name in names])).json()["choices"]
    assert [c["function"]["name"] for c in choice["message"]["tool_calls"]] == names
    (request,) = upstream.control.requests(marker)
    assert [offered["name"] for offered in request["body"]["tools"]] == [*map(alias_of, names)]
    assert not IS_SHARED or gateway.child().children(recursive=True) == []  # else it is gone by now


def test_a_schema_loses_nothing_for_the_model(gateway: Gateway, upstream: Upstream) -> None:
    schema = {"city": {"type": "string", "pattern": "^[A-Z]", "default": "Bern", "minLength": 2}}
    marker = upstream.say("x")
    gateway.post(ask(marker, tools=[tool("f", properties=schema)]))
    (request,) = upstream.control.requests(marker)
    (offered,) = request["body"]["tools"]
    assert json.dumps(schema["city"]).replace(" ", "") in offered["description"]


def run_loop(
    gateway: Gateway, upstream: Upstream, output: str, between: Callable[[], None]
) -> None:
    """Ten rounds of two parallel calls, then an answer; `between` is what happens before each round but the first."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "begin"}]
    with gateway.sdk() as client:
        for round_number in range(10):
            ids = [f"call_{round_number}_{letter}" for letter in "ab"]
            marker = upstream.play(
                {"items": [call("get_weather", '{"city": "x"}', i) for i in ids]}
            )
            messages.append({"role": "user", "content": marker})
            answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
            message = answer.choices[0].message
            assert [c.id for c in message.tool_calls or ()] == ids
            said = message.model_dump(exclude_none=True)
            messages.append(cast("ChatCompletionMessageParam", said))
            messages += [{"role": "tool", "tool_call_id": i, "content": output} for i in ids]
            between()
        marker = upstream.say("done")
        messages.append({"role": "user", "content": marker})
        answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content == "done"
    (request,) = upstream.control.requests(marker)
    items = request["body"]["input"]
    kinds = [item["type"] for item in items]
    assert kinds.count("function_call") == kinds.count("function_call_output") == 20
    outputs = [item["output"] for item in items if item["type"] == "function_call_output"]
    assert outputs == [output] * 20


# What codex cannot read, and what it can: the gateway's own check must not be stricter or more lenient.
SHAPES: dict[str, tuple[Any, ...]] = {
    "items": ([{"type": "string"}], {"type": "string"}),
    "required": (True, ["x"]),
    "enum": ("a", ["a"]),
    "additionalProperties": ("no", False),
    "anyOf": ({"type": "null"}, [{"type": "null"}]),
    "description": (5, "text"),
    "minItems": (-1, 0),
    "properties": (["x"], {"x": True}),
}


@pytest.mark.parametrize("keyword", SHAPES)
def test_a_schema_that_codex_cannot_read_is_refused_by_its_place(
    gateway: Gateway, upstream: Upstream, keyword: str
) -> None:
    marker = upstream.say("ok")
    wrong, right = (
        tool("f", properties={"a": {"type": "array", "items": {}, keyword: value}})
        for value in SHAPES[keyword]
    )
    refused = gateway.post(ask(marker, tools=[WEATHER, wrong]))
    assert refused.status_code == 400
    param = f"tools[1].function.parameters.properties.a.{keyword}"
    assert refused.json()["error"]["param"] == param
    assert gateway.post(ask(marker, tools=[WEATHER, right])).status_code == 200


def test_a_tool_loop_of_ten_rounds_with_large_outputs(gateway: Gateway, upstream: Upstream) -> None:
    run_loop(gateway, upstream, "é" * 50_000, lambda: None)


@pytest.mark.app_server
def test_a_tool_loop_does_not_notice_that_the_child_dies_between_its_rounds(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    # No backoff worth the name, so that ten deaths in a row do not take longer than a request may wait.
    gateway = make_gateway(WORKER_BACKOFF_INITIAL_MS="1", WORKER_BACKOFF_MAX_MS="50")
    gateway.wait_ready()
    killed: list[int] = []

    def kill() -> None:
        child = wait_until(gateway.codex_processes, "a child lives")[0]
        child.kill()
        killed.append(child.pid)

    run_loop(gateway, upstream, "é" * 500, kill)
    assert len(set(killed)) == 10


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "tool", "tool_call_id": "x", "content": "y"}], "messages[0].tool_call_id"),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{}"},
                        }
                    ],
                },
                {"role": "user", "content": "x"},
            ],
            "messages[0].tool_calls[0]",
        ),
    ],
)
def test_a_broken_history_names_the_message(
    gateway: Gateway, messages: list[Any], param: str
) -> None:
    answer = gateway.post({"model": MODEL, "messages": messages})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_tool_choice_none_offers_nothing(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("x")
    gateway.post(ask(marker, tools=[WEATHER], tool_choice="none"))
    (request,) = upstream.control.requests(marker)
    assert request["body"]["tools"] == []


def test_a_named_tool_is_the_only_one_offered_and_asked_for(
    gateway: Gateway, upstream: Upstream
) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    marker = upstream.play({"items": [call("get_weather", "{}", "call_1")]})
    answer = gateway.post(ask(marker, tools=[tool("other"), WEATHER], tool_choice=named)).json()
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    (request,) = upstream.control.requests(marker)
    assert [offered["name"] for offered in request["body"]["tools"]] == ["get_weather"]
    assert "get_weather" in request["body"]["input"][0]["content"][0]["text"]


def test_some_tools_are_allowed_and_the_others_keep_their_names(
    gateway: Gateway, upstream: Upstream
) -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "other"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    # The model knows the shell from the history, under its alias.
    marker = upstream.play({"items": [call(alias_of("shell"), "{}", "call_1")]})
    tools = [tool("other"), tool("shell"), WEATHER]
    body = ask(marker, tools=tools, tool_choice=choice, parallel_tool_calls=False)
    (called,) = gateway.post(body).json()["choices"][0]["message"]["tool_calls"]
    assert called["function"]["name"] == "shell"
    request = upstream.control.requests(marker)[0]
    assert [offered["name"] for offered in request["body"]["tools"]] == ["other"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_required_call_is_asked_for_once_more(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    marker = upstream.play(
        [
            {"items": [{"type": "message", "text": "I would rather talk."}]},
            {"items": [call("get_weather", "{}", "call_1")]},
        ]
    )
    body = ask(marker, tools=[WEATHER], tool_choice="required")
    if stream:
        _, frames = stream_frames(gateway, body)
        deltas = [frame["choices"][0]["delta"] for frame in frames[1:-2]]
        assert [sorted(delta) for delta in deltas] == [["tool_calls"], ["tool_calls"]]
    else:
        message = gateway.post(body).json()["choices"][0]["message"]
        assert message["content"] is None
        assert message["tool_calls"][0]["id"] == "call_1"
    assert len(upstream.control.requests(marker)) == 2


def test_a_required_call_that_never_comes_is_an_error(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("no")
    answer = gateway.post(ask(marker, tools=[WEATHER], tool_choice="required"))
    assert answer.status_code == 502
    assert len(upstream.control.requests(marker)) == 2


def test_without_parallel_calls_the_first_one_ends_the_answer(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.play({"items": PARALLEL, "hold": "end"})
    answer = gateway.post(ask(marker, tools=[WEATHER], parallel_tool_calls=False)).json()
    assert [c["id"] for c in answer["choices"][0]["message"]["tool_calls"]] == ["call_A"]
    upstream.control.wait("peer_closed", marker)


def test_the_legacy_form_of_functions(gateway: Gateway, upstream: Upstream) -> None:
    function = WEATHER["function"]
    marker = upstream.play({"items": [call("get_weather", '{"city":"a"}', "call_1")]})
    answer = gateway.post(ask(marker, functions=[function])).json()["choices"][0]
    assert answer["finish_reason"] == "function_call"
    assert answer["message"]["function_call"] == {
        "name": "get_weather",
        "arguments": '{"city":"a"}',
    }
    after = upstream.say("sunny")
    messages = [
        {"role": "user", "content": after},
        {"role": "assistant", "content": None, "function_call": answer["message"]["function_call"]},
        {"role": "function", "name": "get_weather", "content": "42"},
    ]
    said = gateway.post({"model": MODEL, "messages": messages, "functions": [function]}).json()
    assert said["choices"][0]["message"]["content"] == "sunny"
    (request,) = upstream.control.requests(after)
    assert [item["type"] for item in request["body"]["input"]][1:] == [
        "function_call",
        "function_call_output",
    ]


def test_the_sdks_tool_loop(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.play({"items": PARALLEL})
    with sdk.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": marker}], tools=[WEATHER]
    ) as stream:
        final = stream.get_final_completion()
    assert [c.function.arguments for c in final.choices[0].message.tool_calls or ()] == [
        item["arguments"] for item in PARALLEL
    ]


def test_streams_with_tools_are_never_mixed_up(gateway: Gateway, upstream: Upstream) -> None:
    markers = [
        upstream.play({"items": [call("get_weather", f'{{"city": "{i}"}}', f"call_{i}")]})
        for i in range(64 if IS_SHARED else 8)  # as many processes start for them, in ten seconds
    ]
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda m: stream_frames(gateway, ask(m, tools=[WEATHER])), markers))
    for i, (_, frames) in enumerate(answers):
        opening, arguments = (f["choices"][0]["delta"]["tool_calls"][0] for f in frames[1:-2])
        assert opening["id"] == f"call_{i}"
        assert json.loads(arguments["function"]["arguments"]) == {"city": str(i)}
