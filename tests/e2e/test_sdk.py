"""The official `openai` SDK against the gateway: what a client sees."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

from tests.e2e.harness import MODEL, Gateway, Upstream

TEXT = ("Hel", "lo", "lo", " ", "10", "00", "e", "\u0301")


def messages(marker: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"hi {marker}"}]


def test_a_chat_is_completed(sdk: openai.OpenAI, upstream: Upstream) -> None:
    usage = {"input_tokens": 50, "cached_tokens": 40, "output_tokens": 9, "reasoning_tokens": 3}
    marker = upstream.say(*TEXT, usage=usage)
    answer = sdk.chat.completions.create(model=MODEL, messages=messages(marker))
    assert answer.choices[0].message.content == "".join(TEXT)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL
    assert answer._request_id
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (50, 9)
    assert answer.usage.total_tokens == 59
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 40
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 3


def test_a_chat_is_streamed_delta_for_delta(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.say(*TEXT)
    with sdk.chat.completions.create(
        model=MODEL,
        messages=messages(marker),
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    deltas = [c.choices[0].delta.content for c in chunks if c.choices]
    assert deltas[0] in ("", None), "nothing is known of the content if the upstream is slow"
    assert deltas[1:] == [*TEXT, None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert [c.choices[0].finish_reason for c in chunks if c.choices] == [None] * 9 + ["stop"]


def test_the_stream_helper_adds_up_the_same_text(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.say(*TEXT)
    with sdk.chat.completions.stream(model=MODEL, messages=messages(marker)) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "".join(TEXT)


LOOK = {"type": "function_call", "name": "look", "arguments": '{"a": "b"}', "call_id": "call_1"}
TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "look",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}
REASONING = {"type": "reasoning", "summary_deltas": ["hm"]}
SAID = {"type": "message", "deltas": ["a", "b"]}
REFUSED = {"type": "message", "deltas": [], "refusal": "I can't."}


@pytest.mark.parametrize("held", [{}, {"hold_before_headers": True}])
@pytest.mark.parametrize(
    ("items", "reported"),
    [
        ([LOOK], {"tool_calls.function.arguments"}),
        ([LOOK, {**LOOK, "call_id": "call_2"}], {"tool_calls.function.arguments"}),
        ([REASONING, LOOK], {"tool_calls.function.arguments"}),
        ([REFUSED], {"refusal"}),
        ([SAID], {"content"}),
        ([REASONING, SAID], {"content"}),
        ([SAID, LOOK], {"content", "tool_calls.function.arguments"}),
    ],
)
def test_the_stream_helper_reports_what_there_is_and_nothing_else(
    lend_gateway: Callable[..., Gateway],
    upstream: Upstream,
    items: list[dict[str, object]],
    reported: set[str],
    held: dict[str, bool],
) -> None:
    gateway = lend_gateway(PROXY_SSE_KEEPALIVE_MS="50", PROXY_STREAM_COMMIT_MS="50")
    marker = upstream.play({"items": items, **held})
    done: list[str] = []
    kinds: set[str] = set()
    with (
        gateway.sdk() as client,
        client.chat.completions.stream(
            model=MODEL, messages=messages(marker), tools=[TOOL]
        ) as stream,
    ):
        for number, event in enumerate(stream):
            if held and number == 3:
                upstream.control.wait("held", marker)
                upstream.control.release(marker)
            kinds.add(event.type)
            done += [event.type] if event.type.endswith(".done") else []
    assert kinds - {"chunk"} == {f"{what}.{how}" for what in reported for how in ("delta", "done")}
    assert done.count("content.done") == ("content" in reported)


def test_the_models_are_listed(sdk: openai.OpenAI) -> None:
    listed = {model.id: model for model in sdk.models.list()}
    assert MODEL in listed
    assert listed[MODEL].owned_by == "codex-custom"
    created = {datetime.fromtimestamp(model.created, UTC) for model in listed.values()}
    assert created == {datetime(2026, 1, 1, tzinfo=UTC)}, "the same, whoever asks, and when"


def test_reasoning_effort_reaches_the_upstream(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.say("x")
    answer = sdk.chat.completions.create(
        model=MODEL, messages=messages(marker), reasoning_effort="high"
    )
    (request,) = upstream.control.requests(marker)
    assert request["body"]["reasoning"]["effort"] == "high"
    assert answer.model_extra is not None
    assert answer.model_extra["codex_metadata"]["effort"] == "high"


# Typed errors


def test_a_wrong_key_is_an_authentication_error(gateway: Gateway) -> None:
    with gateway.sdk(api_key="sk-wrong") as client, pytest.raises(openai.AuthenticationError) as e:
        client.models.list()
    assert e.value.code == "invalid_api_key"
    assert "sk-wrong" not in str(e.value)


def test_an_unknown_model_is_not_found(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as e:
        sdk.chat.completions.create(model="gpt-none", messages=messages("x"))
    assert e.value.code == "model_not_found"


def test_a_bad_field_is_a_bad_request_that_names_it(sdk: openai.OpenAI) -> None:
    robot = cast("ChatCompletionMessageParam", {"role": "robot", "content": "x"})
    with pytest.raises(openai.BadRequestError) as e:
        sdk.chat.completions.create(model=MODEL, messages=[robot])
    assert e.value.param == "messages[0].role"
    assert e.value.code == "invalid_value"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [
        ("rate_limited", openai.RateLimitError, "rate_limit_exceeded"),
        ("usage_limit_reached", openai.RateLimitError, "insufficient_quota"),
        ("insufficient_quota", openai.RateLimitError, "insufficient_quota"),
        ("failed_rate_limit_exceeded", openai.RateLimitError, "rate_limit_exceeded"),
        ("context_length_exceeded", openai.BadRequestError, "context_length_exceeded"),
        ("failed_context_length_exceeded", openai.BadRequestError, "context_length_exceeded"),
        ("model_not_found", openai.NotFoundError, "model_not_found"),
        ("invalid_prompt", openai.BadRequestError, "invalid_prompt"),
        ("failed_invalid_prompt", openai.BadRequestError, "invalid_prompt"),
        ("failed_insufficient_quota", openai.RateLimitError, "insufficient_quota"),
        ("error_event", openai.InternalServerError, "UPSTREAM_ERROR"),
        ("reset_mid_stream", openai.InternalServerError, "UPSTREAM_ERROR"),
        ("eof_mid_stream", openai.InternalServerError, "UPSTREAM_ERROR"),
        ("cut_mid_stream", openai.InternalServerError, "UPSTREAM_ERROR"),
        ("bad_request", openai.BadRequestError, None),
        ("invalid_api_key", openai.InternalServerError, "UPSTREAM_AUTH"),
        ("forbidden", openai.PermissionDeniedError, "UPSTREAM_FORBIDDEN"),
        ("server_error", openai.InternalServerError, "UPSTREAM_ERROR"),
        ("bad_gateway", openai.InternalServerError, "UPSTREAM_ERROR"),
        ("overloaded", openai.InternalServerError, "server_is_overloaded"),
        ("failed_server_error", openai.InternalServerError, "UPSTREAM_ERROR"),
        ("reset_before_headers", openai.InternalServerError, "UPSTREAM_ERROR"),
        ("eof_before_headers", openai.InternalServerError, "UPSTREAM_ERROR"),
    ],
)
def test_an_upstream_failure_before_the_first_event_is_typed(
    sdk: openai.OpenAI,
    upstream: Upstream,
    failure: str,
    error: type[openai.APIStatusError],
    code: str | None,
    stream: bool,
) -> None:
    marker = upstream.play({"failure": failure})
    with pytest.raises(error) as e:
        sdk.chat.completions.create(model=MODEL, messages=messages(marker), stream=stream)
    assert code is None or e.value.code == code
    assert upstream.url not in str(e.value)
    assert "req_demo" not in str(e.value)
    # What broke off is tried once more by the gateway itself; what was refused is not.
    assert len(upstream.control.requests(marker)) == (2 if code == "UPSTREAM_ERROR" else 1)


def test_a_retryable_failure_is_retried_by_the_sdk(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play(
        [{"failure": "overloaded"}, {"items": [{"type": "message", "text": "ok"}]}]
    )
    with gateway.sdk(max_retries=1) as client:
        answer = client.chat.completions.create(model=MODEL, messages=messages(marker))
    assert answer.choices[0].message.content == "ok"


def test_an_exhausted_quota_is_not_retried_by_the_sdk(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"failure": "insufficient_quota"})
    with gateway.sdk(max_retries=2) as client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model=MODEL, messages=messages(marker))
    assert len(upstream.control.requests(marker)) == 1
