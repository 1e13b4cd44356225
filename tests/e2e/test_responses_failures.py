"""What goes wrong at `/v1/responses`: errors before the first byte, `response.failed` after it, cut answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from typing import Any

import openai
import pytest

from tests.e2e.harness import MODEL, Gateway, Upstream
from tests.e2e.in_flight import failing, releasing
from tests.e2e.raw_http import exchange, request_bytes, unchunk
from tests.e2e.responses_api import answer, ignored, kinds, post, refusal, sent, stream

Json = dict[str, Any]

PATH = "/v1/responses"
SAID = {"items": [{"type": "message", "deltas": ["a", "b", "c"]}]}


# Before the commit


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "status", "code", "param"),
    [
        ("bad_request", 400, None, None),
        ("context_length_exceeded", 400, "context_length_exceeded", "input"),
        ("invalid_prompt", 400, "invalid_prompt", None),
        ("invalid_api_key", 503, "UPSTREAM_AUTH", None),
        ("model_not_found", 404, "model_not_found", "model"),
        ("rate_limited", 429, "rate_limit_exceeded", None),
        ("insufficient_quota", 429, "insufficient_quota", None),
        ("server_error", 502, "UPSTREAM_ERROR", None),
        ("failed_server_error", 502, "UPSTREAM_ERROR", None),
        ("error_event", 502, "UPSTREAM_ERROR", None),
        ("failed_context_length_exceeded", 400, "context_length_exceeded", "input"),
    ],
)
def test_a_failure_before_the_first_byte_is_the_envelope(
    gateway: Gateway,
    upstream: Upstream,
    failure: str,
    status: int,
    code: str | None,
    param: str | None,
    *,
    is_stream: bool,
) -> None:
    marker = upstream.play({"failure": failure})
    got, named, where, _ = refusal(gateway, input=marker, stream=is_stream)
    assert (got, where) == (status, param)
    assert code is None or named == code
    chat = gateway.post({"model": MODEL, "messages": [{"role": "user", "content": marker}]})
    error = chat.json()["error"]
    assert (got, named) == (chat.status_code, error["code"]), "the same as on the other route"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "INVALID_JSON", None),
        (b'{"model": "\\ud800"}', "INVALID_JSON", None),
        (b"[" * 2000, "INVALID_JSON", None),
        (b"[]", "invalid_type", "body"),
        (b"{}", "missing_required_parameter", "model"),
        (b'{"model": "gpt-5.5"}', "missing_required_parameter", "input"),
        (b'{"model": 5, "input": "a"}', "invalid_type", "model"),
        (b'{"model": "gpt-none", "input": "a"}', "model_not_found", "model"),
    ],
)
def test_a_bad_body_is_named(gateway: Gateway, body: bytes, code: str, param: str | None) -> None:
    status, headers, raw = exchange(gateway, request_bytes("POST", PATH, body))
    assert status == (404 if code == "model_not_found" else 400)
    assert f'"code":"{code}"'.encode() in raw
    assert (f'"param":"{param}"' if param else '"param":null').encode() in raw
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("field", "value", "code", "param"),
    [
        ("background", "yes", "invalid_type", "background"),
        ("conversation", "conv_1", "unsupported_parameter", "conversation"),
        ("conversation", {"id": "conv_1"}, "unsupported_parameter", "conversation"),
        ("prompt", {"id": "pmpt_1"}, "unsupported_parameter", "prompt"),
        ("top_logprobs", 5, "unsupported_parameter", "top_logprobs"),
        ("include", ["message.output_text.logprobs"], "unsupported_parameter", "include[0]"),
        ("include", ["reasoning.encrypted_content", "x"], "invalid_value", "include[1]"),
        ("include", [5], "invalid_type", "include[0]"),
        ("include", "x", "invalid_type", "include"),
        ("instructions", ["x"], "invalid_type", "instructions"),
        ("metadata", {"a": 1}, "invalid_type", "metadata.a"),
        ("metadata", {str(n): "x" for n in range(17)}, "object_above_max_properties", "metadata"),
        ("metadata", {"a": "x" * 513}, "string_above_max_length", "metadata.a"),
        ("metadata", {"k" * 65: "x"}, "string_above_max_length", f"metadata.{'k' * 64}"),
        ("reasoning", {"effort": 5}, "invalid_type", "reasoning.effort"),
        ("reasoning", {"effort": "bogus"}, "unsupported_value", "reasoning.effort"),
        ("reasoning", {"summary": "long"}, "invalid_value", "reasoning.summary"),
        ("reasoning", "low", "invalid_type", "reasoning"),
        ("text", {"verbosity": "loud"}, "invalid_value", "text.verbosity"),
        ("text", {"format": "json"}, "invalid_type", "text.format"),
        ("text", {"format": {"type": "xml"}}, "invalid_value", "text.format.type"),
        (
            "text",
            {"format": {"type": "json_schema", "name": "n"}},
            "missing_required_parameter",
            "text.format.schema",
        ),
        ("max_output_tokens", 0, "invalid_value", "max_output_tokens"),
        ("max_output_tokens", "5", "invalid_type", "max_output_tokens"),
        ("service_tier", "best", "invalid_value", "service_tier"),
        ("store", "yes", "invalid_type", "store"),
        ("stream", 1, "invalid_type", "stream"),
        ("temperature", 3, "invalid_value", "temperature"),
        ("truncation", "middle", "invalid_value", "truncation"),
        ("parallel_tool_calls", "no", "invalid_type", "parallel_tool_calls"),
        ("user", 5, "invalid_type", "user"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    gateway: Gateway, field: str, value: Any, code: str, param: str
) -> None:
    status, got, where, _ = refusal(gateway, input="hi", **{field: value})
    assert (status, got, where) == (400, code, param)


# After the commit


@pytest.mark.parametrize(
    ("failure", "code", "own"),
    [
        ("cut_mid_stream", "server_error", "UPSTREAM_ERROR"),
        ("failed_server_error", "server_error", "UPSTREAM_ERROR"),
        ("failed_rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_exceeded"),
        ("failed_insufficient_quota", "rate_limit_exceeded", "insufficient_quota"),
        ("failed_invalid_prompt", "invalid_prompt", "invalid_prompt"),
        ("failed_context_length_exceeded", "server_error", "context_length_exceeded"),
    ],
)
def test_a_failure_in_a_stream_is_its_last_event(
    gateway: Gateway, upstream: Upstream, failure: str, code: str, own: str
) -> None:
    marker = upstream.play(failing("abc", failure))
    events = stream(gateway, releasing(upstream, marker, "b"), input=marker)
    assert kinds(events)[-1] == "failed"
    assert kinds(events).count("output_text.delta") == 2
    response = events[-1]["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", code)
    assert response["codex_metadata"]["error"]["code"] == own
    assert response["id"] == events[0]["response"]["id"]


def test_the_sdk_sees_a_failure_in_a_stream(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.play(failing("abc"))

    def last(events: Iterable[Any]) -> Any:
        """The last event of a stream whose upstream goes on when it has told a text."""
        watch = releasing(upstream, marker, "b")
        for event in events:
            watch(event.to_json().encode())
        return event

    failed = last(sdk.responses.create(model=MODEL, input=marker, stream=True))
    assert (failed.type, failed.response.error.code) == ("response.failed", "server_error")
    with sdk.responses.stream(model=MODEL, input=marker) as running:
        assert last(running).type == "response.failed"


# Answers that are cut


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_what_the_upstream_cuts_is_incomplete(
    gateway: Gateway, upstream: Upstream, reason: str
) -> None:
    marker = upstream.play({**SAID, "status": reason})
    whole = answer(gateway, input=marker)
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": reason})
    events = stream(gateway, input=marker)
    assert kinds(events)[-1] == "incomplete"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "abc"
    assert events[-1]["response"]["output"][0]["status"] == "incomplete"


def test_a_limit_of_tokens_cuts(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({**SAID, "interval_ms": 10})
    for events in (None, stream(gateway, input=marker, max_output_tokens=2)):
        whole = events[-1]["response"] if events else answer(
            gateway, input=marker, max_output_tokens=2
        )  # fmt: skip
        (message,) = whole["output"]
        assert (whole["status"], message["status"]) == ("incomplete", "incomplete")
        assert whole["incomplete_details"] == {"reason": "max_output_tokens"}
        assert message["content"][0]["text"] == "ab"
        assert whole["max_output_tokens"] == 2


def test_a_refusal_of_the_model_is_told(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [{"type": "message", "refusal": "I will not."}]})
    (message,) = answer(gateway, input=marker)["output"]
    assert [part["type"] for part in message["content"]] == ["refusal"]
    names = kinds(stream(gateway, input=marker))
    assert names[2:-1] == [
        *("output_item.added", "content_part.added", "refusal.delta", "refusal.done"),
        *("content_part.done", "output_item.done"),
    ]


# What is taken


def test_null_is_absent_everywhere(gateway: Gateway, upstream: Upstream) -> None:
    names = (
        *("instructions", "previous_response_id", "store", "stream", "stream_options"),
        *("reasoning", "text", "include", "metadata", "service_tier", "truncation"),
        *("max_output_tokens", "max_tool_calls", "parallel_tool_calls", "tools", "tool_choice"),
        *("top_logprobs", "background", "prompt_cache_key", "safety_identifier", "user"),
        *("temperature", "top_p", "seed", "conversation", "prompt", "nobody_knows_this"),
    )
    message = {"type": None, "role": "user", "content": upstream.say("ok"), "phase": None}
    whole = answer(gateway, input=[{**message, "id": None}], **dict.fromkeys(names))
    assert ignored(whole) == []
    inner = {"reasoning": {"effort": None, "summary": None}, "text": {"format": None}}
    assert ignored(answer(gateway, input=upstream.say("ok"), **inner)) == []


def test_what_has_no_effect_is_named(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    message = {"role": "user", "content": [{"type": "input_text", "text": marker, "odd": 1}]}
    whole = answer(
        gateway,
        input=[{**message, "name": "Bob"}],
        temperature=0.5,
        top_p=1,
        seed=3,
        client_metadata={"a": "b"},
        truncation="auto",
        max_tool_calls=3,
        service_tier="scale",
        nobody_knows_this=1,
        text={"odd": 1},
        stream_options={"include_obfuscation": True},
    )
    assert set(ignored(whole)) == {
        *("temperature", "seed", "client_metadata", "truncation", "max_tool_calls"),
        *("service_tier", "nobody_knows_this", "text.odd", "input.name", "input.content.odd"),
        "stream_options.include_obfuscation",
    }
    assert (whole["temperature"], whole["max_tool_calls"]) == (0.5, 3)


@pytest.mark.parametrize(
    ("effort", "reaches"), [("none", "low"), ("minimal", None), ("low", "low"), (None, None)]
)
def test_an_effort_is_asked_or_what_comes_nearest(
    gateway: Gateway, upstream: Upstream, effort: str | None, reaches: str | None
) -> None:
    marker = upstream.say("ok")
    whole = answer(gateway, input=marker, reasoning={"effort": effort})
    asked = sent(upstream, marker)[-1].get("reasoning", {}).get("effort")
    assert asked == whole["reasoning"]["effort"] == whole["codex_metadata"]["effort"]
    assert reaches is None or asked == reaches


def test_forms_of_the_text(gateway: Gateway, upstream: Upstream) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}
    marker = upstream.say('{"a"', ":1}")
    whole = answer(gateway, input=marker, text={"format": form, "verbosity": "low"})
    asked = sent(upstream, marker)[-1]["text"]
    assert asked["format"]["schema"] == schema
    assert asked["verbosity"] == "low"
    assert whole["text"]["format"]["schema"] == schema
    assert whole["output"][0]["content"][0]["text"] == '{"a":1}'
    loose = upstream.say("```json\n", '{"a":1}', "\n```")
    whole = answer(gateway, input=loose, text={"format": {"type": "json_object"}})
    assert whole["output"][0]["content"][0]["text"] == '{"a":1}'
    whole = answer(gateway, input=marker, text={"format": {**form, "strict": False}})
    assert whole["text"]["format"]["strict"] is False


@pytest.mark.parametrize(("tier", "reaches"), [("flex", "flex"), ("fast", "priority")])
def test_a_tier_is_asked_for(gateway: Gateway, upstream: Upstream, tier: str, reaches: str) -> None:
    marker = upstream.say("ok")
    assert answer(gateway, input=marker, service_tier=tier)["service_tier"] == reaches
    assert sent(upstream, marker)[-1]["service_tier"] == reaches


def test_metadata_up_to_its_bounds_comes_back(gateway: Gateway, upstream: Upstream) -> None:
    pairs = {f"{n:064}": "x" * 512 for n in range(16)}
    assert answer(gateway, input=upstream.say("ok"), metadata=pairs)["metadata"] == pairs


# Silence


def test_a_silent_stream_shows_signs_of_life_that_every_reader_takes(
    lend_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = lend_gateway(PROXY_SSE_KEEPALIVE_MS="50", PROXY_STREAM_COMMIT_MS="50")
    items = [
        {"type": "reasoning", "summary_deltas": ["hm", "hm"]},
        {"type": "message", "deltas": ["a", "b"]},
    ]
    marker = upstream.play({"items": items, "interval_ms": 300, "delay_ms": 300})
    events = stream(gateway, input=marker)
    names = kinds(events)
    assert names.count("in_progress") > 1
    empty = [event for event in events if event.get("delta") == ""]
    assert empty
    texts = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(texts) == "ab"
    assert names[-1] == "completed"
    with gateway.sdk() as sdk, sdk.responses.stream(model=MODEL, input=marker) as running:
        assert running.get_final_response().output_text == "ab"


def test_a_head_is_no_answer(gateway: Gateway) -> None:
    assert post(gateway, {"input": "hi", "model": None}).status_code in (200, 400)
    assert exchange(gateway, request_bytes("GET", PATH))[0] == 405


def test_a_long_text_is_repeated_in_writes_of_their_own(
    gateway: Gateway, upstream: Upstream
) -> None:
    """Its last events have the whole text each: at once they would hold the gateway up, and its memory."""
    text = "x" * 50_000
    marker = upstream.say(*[text] * 20)
    body = json.dumps({"model": MODEL, "input": marker, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as connection:
        connection.sendall(request_bytes("POST", PATH, body))
        raw = b"".join(iter(lambda: connection.recv(65536), b""))
    writes = [*unchunk(raw.partition(b"\r\n\r\n")[2])]
    assert b"".join(writes).count(text.encode() * 20) == 4
    assert max(map(len, writes)) < 1_500_000
