"""Parameters that codex has no way for, done here: stop, max_tokens, n, response_format, reasoning."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.harness import MODEL, Gateway, Upstream, ask, wait_until
from tests.e2e.raw_http import stream_frames
from tests.e2e.scrape import scrape

LETTERS = ["ab", "c", "de", "f", "gh", "i"]


def contents(frames: list[Any]) -> str:
    return "".join(f["choices"][0]["delta"].get("content") or "" for f in frames[1:-1])


@pytest.mark.parametrize("stop", ["c", "cd", "bc", "abc", "ef", "defg", "i", "hi", "abcdefghi"])
def test_a_stop_sequence_wherever_it_lies(gateway: Gateway, upstream: Upstream, stop: str) -> None:
    text = "".join(LETTERS)
    marker = upstream.say(*LETTERS)
    for _ in range(2):
        _, frames = stream_frames(gateway, ask(marker, stop=stop))
        assert contents(frames) == text[: text.index(stop)]
        assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    whole = gateway.post(ask(marker, stop=[stop, "never"])).json()
    assert whole["choices"][0]["message"]["content"] == text[: text.index(stop)]


def test_a_stop_sequence_that_does_not_come_costs_no_letter(
    gateway: Gateway, upstream: Upstream
) -> None:
    _, frames = stream_frames(gateway, ask(upstream.say(*LETTERS), stop=["iX", "ghiX"]))
    assert contents(frames) == "".join(LETTERS)


def test_a_stop_closes_the_upstream(gateway: Gateway, upstream: Upstream) -> None:
    script = {"items": [{"type": "message", "deltas": ["a", "STOP", "b"]}], "hold": True}
    marker = upstream.play(script)
    answer = gateway.post(ask(marker, stop="STOP")).json()
    assert answer["choices"][0]["message"]["content"] == "a"
    assert answer["codex_metadata"]["usage_estimated"] is True
    upstream.control.wait("peer_closed", marker)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_is_never_early(gateway: Gateway, upstream: Upstream, name: str) -> None:
    marker = upstream.say("a", "b", "c")
    exact = gateway.post(ask(marker, **{name: 3})).json()
    assert exact["choices"][0]["finish_reason"] == "stop"
    assert exact["choices"][0]["message"]["content"] == "abc"
    cut = gateway.post(ask(marker, **{name: 2})).json()
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["choices"][0]["message"]["content"] == "ab"
    assert cut["usage"]["completion_tokens"] == 2
    assert cut["codex_metadata"]["usage_estimated"] is True


def test_n_choices_are_n_turns(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play(
        [{"items": [{"type": "message", "deltas": list(t)}]} for t in ("aa", "bb", "cc")]
    )
    answer = gateway.post(ask(marker, n=3)).json()
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert sorted(texts) == ["aa", "bb", "cc"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 6


def test_n_choices_stream_side_by_side(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play(
        [{"items": [{"type": "message", "deltas": list(t)}]} for t in ("ab", "cd")]
    )
    _, frames = stream_frames(gateway, ask(marker, n=2, stream_options={"include_usage": True}))
    *frames, usage, done = frames
    assert done == "[DONE]"
    assert usage["choices"] == []
    texts = {0: "", 1: ""}
    for frame in frames:
        (choice,) = frame["choices"]
        texts[choice["index"]] += choice["delta"].get("content") or ""
    assert sorted(texts.values()) == ["ab", "cd"]
    finishes = [f["choices"][0]["index"] for f in frames if f["choices"][0]["finish_reason"]]
    assert sorted(finishes) == [0, 1]
    roles = [frame["choices"][0]["delta"] for frame in frames[:2]]
    assert [role.pop("role") for role in roles] == ["assistant"] * 2
    assert all(role in ({}, {"content": ""}) for role in roles)


def test_one_failing_choice_fails_the_request_and_leaves_no_turn(
    gateway: Gateway, upstream: Upstream
) -> None:
    hung = {"items": [{"type": "message", "text": "x"}], "hold": True}
    marker = upstream.play([hung, hung, hung, {"failure": "server_error"}])
    answer = gateway.post(ask(marker, n=4))
    assert answer.status_code == 502
    wait_until(lambda: gateway.get("/healthz").json()["child"]["running"] == 0, "no turn runs")


# Shapes


class City(BaseModel):
    name: str
    people: int


def test_the_sdk_parses_a_pydantic_model(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.say('{"name": "B', 'ern", "people": 5}')
    answer = sdk.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": marker}], response_format=City
    )
    assert answer.choices[0].message.parsed == City(name="Bern", people=5)
    (request,) = upstream.control.requests(marker)
    assert request["body"]["text"]["format"]["type"] == "json_schema"
    assert request["body"]["text"]["format"]["strict"] is True


@pytest.mark.parametrize("is_strict", [True, False])
def test_the_description_of_a_form_reaches_the_model(
    gateway: Gateway, upstream: Upstream, is_strict: bool
) -> None:
    closed = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    schema = closed if is_strict else {"type": "object"}
    form = {"name": "city", "description": "A city of Switzerland.", "schema": schema}
    marker = upstream.say("{}")
    wanted = {"type": "json_schema", "json_schema": form}
    assert gateway.post(ask(marker, response_format=wanted)).status_code == 200
    (request,) = upstream.control.requests(marker)
    told = request["body"]["input"][0]
    if is_strict:
        assert told["role"] == "user"
        sent = request["body"]["text"]["format"]["schema"]
        assert sent == {**closed, "description": "A city of Switzerland."}
        return
    assert told["role"] == "developer"
    assert "(city): A city of Switzerland." in told["content"][0]["text"]
    assert "format" not in request["body"].get("text", {})


OPEN_SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def loose(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}


@pytest.mark.parametrize("wanted", [{"type": "json_object"}, loose(OPEN_SCHEMA)])
def test_json_that_is_not_strict_is_instructed_and_checked(
    gateway: Gateway, upstream: Upstream, wanted: dict[str, Any]
) -> None:
    good = [{"items": [{"type": "message", "text": '{"a": 1}'}]}]
    marker = upstream.play([{"items": [{"type": "message", "text": "Sure! {"}]}, *good])
    answer = gateway.post(ask(marker, response_format=wanted)).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"a": 1}
    first, second = upstream.control.requests(marker)
    assert "text" not in first["body"] or "format" not in first["body"]["text"]
    assert "JSON" in first["body"]["input"][0]["content"][0]["text"]
    assert "not accepted" in second["body"]["input"][-1]["content"][0]["text"]


def test_json_that_never_comes_is_an_error(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("never")
    answer = gateway.post(ask(marker, response_format={"type": "json_object"}))
    assert answer.status_code == 502


def test_a_false_strict_is_refused_here(gateway: Gateway) -> None:
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "t", "strict": True, "schema": OPEN_SCHEMA},
    }
    answer = gateway.post(ask("x", response_format=wanted))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "response_format.json_schema.schema"
    assert "'additionalProperties' must be false in 'schema'" in error["message"]


# Reasoning, refusals, passed on


def test_reasoning_is_beside_the_content_and_never_in_it(
    gateway: Gateway, upstream: Upstream
) -> None:
    items = [
        {"type": "reasoning", "summary_deltas": ["thin", "king"]},
        {"type": "message", "deltas": ["an", "swer"]},
    ]
    marker = upstream.play({"items": items})
    message = gateway.post(ask(marker)).json()["choices"][0]["message"]
    assert message["reasoning_content"] == "thinking"
    assert message["content"] == "answer"
    _, frames = stream_frames(gateway, ask(marker))
    assert [f["choices"][0]["delta"].get("reasoning_content") for f in frames[1:3]] == [
        "thin",
        "king",
    ]
    assert contents(frames) == "answer"
    (request, _) = upstream.control.requests(marker)
    assert request["body"]["reasoning"]["summary"] == "auto"


def test_reasoning_can_be_switched_off(lend_gateway: Any, upstream: Upstream) -> None:
    gateway = lend_gateway(PROXY_REASONING="off", PROXY_SSE_KEEPALIVE_MS="50")
    items = [{"type": "reasoning", "summary_deltas": ["hm"]}, {"type": "message", "text": "x"}]
    marker = upstream.play({"items": items})
    message = gateway.post(ask(marker)).json()["choices"][0]["message"]
    assert "reasoning_content" not in message
    (request,) = upstream.control.requests(marker)
    assert "summary" not in request["body"]["reasoning"]


def test_a_refusal_is_no_silent_empty_answer(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [{"type": "message", "deltas": [], "refusal": "I can't."}]})
    message = gateway.post(ask(marker)).json()["choices"][0]["message"]
    assert "refused" in message["refusal"]  # codex keeps the model's own words to itself
    assert message["content"] is None


@pytest.mark.parametrize(
    ("parameter", "value", "member"),
    [
        ("service_tier", "priority", lambda body: body["service_tier"]),
        ("service_tier", "flex", lambda body: body["service_tier"]),
        ("reasoning_effort", "high", lambda body: body["reasoning"]["effort"]),
        ("verbosity", "low", lambda body: body["text"]["verbosity"]),
    ],
)
def test_a_parameter_that_codex_knows_reaches_the_upstream(
    gateway: Gateway, upstream: Upstream, parameter: str, value: str, member: Any
) -> None:
    marker = upstream.say("x")
    assert gateway.post(ask(marker, **{parameter: value})).status_code == 200
    (request,) = upstream.control.requests(marker)
    assert member(request["body"]) == value


@pytest.mark.parametrize(
    ("tier", "sent", "ignored"),
    [
        ("fast", "priority", []),
        ("scale", None, ["service_tier"]),
        ("auto", None, []),
        ("default", None, []),
    ],
)
def test_a_tier_is_sent_in_codexs_words_or_named(
    gateway: Gateway, upstream: Upstream, tier: str, sent: str | None, ignored: list[str]
) -> None:
    marker = upstream.say("x")
    answer = gateway.post(ask(marker, service_tier=tier)).json()
    (request,) = upstream.control.requests(marker)
    assert request["body"].get("service_tier") == sent
    assert answer["codex_metadata"]["ignored_parameters"] == ignored


@pytest.mark.parametrize("effort", ["none", "minimal"])
@pytest.mark.parametrize(
    ("field", "wrap"),
    [
        ("reasoning_effort", lambda effort: {"reasoning_effort": effort}),
        ("reasoning.effort", lambda effort: {"reasoning": {"effort": effort}}),
    ],
)
def test_an_effort_below_the_models_lowest_is_adjusted_and_told(
    gateway: Gateway, upstream: Upstream, effort: str, field: str, wrap: Any
) -> None:
    marker = upstream.say("x")
    answer = gateway.post(ask(marker, **wrap(effort))).json()
    metadata = answer["codex_metadata"]
    assert (metadata["effort"], metadata["adjusted_parameters"]) == ("low", {field: "low"})
    (request,) = upstream.control.requests(marker)
    assert request["body"]["reasoning"]["effort"] == "low"


def test_another_unknown_effort_is_refused_where_it_stands(gateway: Gateway) -> None:
    for body, field in (
        ({"reasoning_effort": "ultra"}, "reasoning_effort"),
        ({"reasoning": {"effort": "ultra"}}, "reasoning.effort"),
    ):
        answer = gateway.post(ask("x", **body))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "unsupported_value")
        assert error["param"] == field


def test_what_is_not_read_is_named_in_answer_stream_and_log(
    lend_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = lend_gateway()
    before = counted(gateway)
    body = ask(upstream.say("x"), brand_new={"a": 1}, new_one=[], **{"odd\nname": 1})
    body["messages"][0]["thinking"] = "hm"
    names = ["brand_new", "messages.thinking", "new_one", "odd\nname"]
    answer = gateway.post(body).json()
    assert answer["codex_metadata"]["ignored_parameters"] == names
    assert answer["codex_metadata"]["adjusted_parameters"] == {}
    _, frames = stream_frames(gateway, body)
    assert frames[-2]["codex_metadata"]["ignored_parameters"] == names
    logged = wait_until(
        lambda: len(found := ignored_in_log(gateway)) == 2 and found, "both are logged"
    )
    assert logged == [["brand_new", "messages.thinking", "new_one", "other"]] * 2
    after = counted(gateway)
    assert after["other"] == before.get("other", 0) + 6
    assert after["messages.thinking"] == before.get("messages.thinking", 0) + 2
    assert "brand_new" not in after


def ignored_in_log(gateway: Gateway) -> list[list[str]]:
    lines = gateway.events("request")
    return [line["ignored_parameters"] for line in lines if "ignored_parameters" in line]


def counted(gateway: Gateway) -> dict[str, float]:
    return {
        dict(series)["name"]: value
        for (found, series), value in scrape(gateway).items()
        if found == "codex_ignored_parameters_total"
    }


NULLS_IN_A_HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "a", "name": None, "tool_calls": None},
    {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": None,
                "index": None,
                "function": {"name": "f", "arguments": "{}", "parsed_arguments": None},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": None, "name": None},
]


def test_nulls_in_a_history_and_a_tool_reach_the_upstream_as_nothing(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say("x")
    parameters = {"type": None, "properties": {"a": {"type": None}}, "required": None}
    function = {"name": "f", "description": None, "strict": None, "parameters": parameters}
    body = ask(marker, tools=[{"type": "function", "function": function}], reasoning_effort=None)
    body["messages"] = [*NULLS_IN_A_HISTORY, *body["messages"]]
    answer = gateway.post(body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["codex_metadata"]["ignored_parameters"] == []
    (request,) = upstream.control.requests(marker)
    kinds = [item["type"] for item in request["body"]["input"]]
    assert kinds == ["message", "function_call", "function_call_output", "message"]
