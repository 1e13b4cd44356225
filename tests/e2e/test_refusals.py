"""What the ChatGPT backend and other upstreams refuse with: status, field and words reach the client and the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.e2e.harness import Gateway, Upstream, ask, wait_until

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA="
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
NEWER = "The 'gpt-7' model requires a newer version of Codex. Please upgrade and try again."


def refuse(upstream: Upstream, status: int, body: Any) -> str:
    return upstream.play({"failure": {"name": "bad_request", "status": status, "body": body}})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "body", "becomes", "code", "param", "has"),
    [
        (
            400,
            {"detail": "The 'x' model is not supported when using Codex with a ChatGPT account."},
            400,
            "invalid_value",
            "model",
            "with a ChatGPT account.",
        ),
        (400, {"detail": NEWER}, 400, "CODEX_OUTDATED", "model", "openai-codex-cli-bin"),
        (
            400,
            {"detail": "Unsupported service_tier: flex"},
            400,
            "invalid_value",
            "service_tier",
            "flex.",
        ),
        (400, {"detail": "Bad Request"}, 400, "invalid_value", "messages", "images"),
        (400, "", 400, "invalid_value", "messages", "images"),
        (400, "no words in JSON", 400, "invalid_value", None, "no words in JSON."),
        (
            403,
            {"detail": "Not in your plan."},
            403,
            "UPSTREAM_FORBIDDEN",
            None,
            "Not in your plan.",
        ),
        (413, "<h1>413</h1>", 400, "invalid_value", "messages", "too large"),
        (
            422,
            {"detail": [{"loc": ["body", "input"], "msg": "Field required"}]},
            400,
            "invalid_value",
            None,
            "body.input: Field required.",
        ),
        (409, {"detail": "Conflict"}, 400, "invalid_value", None, "Conflict."),
        (
            400,
            {"error": {"message": "Invalid 'input[1]'.", "param": "input[1]", "code": "own_code"}},
            400,
            "own_code",
            "messages",
            "Invalid 'input[1]'.",
        ),
        (
            400,
            {"error": {"message": "It could not be.", "code": "invalid_encrypted_content"}},
            400,
            "invalid_encrypted_content",
            None,
            "It could not be.",
        ),
        (
            400,
            {
                "error": {
                    "message": "Too long.",
                    "code": "context_length_exceeded",
                    "param": "input",
                }
            },
            400,
            "context_length_exceeded",
            "messages",
            "Input tokens exceed the configured limit",
        ),
    ],
)
def test_a_refusal_is_told_once_and_never_worth_a_retry(
    gateway: Gateway,
    upstream: Upstream,
    stream: bool,
    status: int,
    body: Any,
    becomes: int,
    code: str,
    param: str | None,
    has: str,
) -> None:
    marker = refuse(upstream, status, body)
    content = [{"type": "text", "text": f"[{marker}]"}, IMAGE]
    messages = [{"role": "user", "content": content}]
    with gateway.sdk(max_retries=3) as sdk, pytest.raises(openai.APIStatusError) as raised:
        sdk.chat.completions.create(model="gpt-5.5", messages=messages, stream=stream)  # type: ignore[arg-type]
    error = raised.value
    assert (error.status_code, error.code, error.param) == (becomes, code, param)
    assert has in error.message
    assert error.response.headers["x-should-retry"] == "false"
    assert len(upstream.control.requests(marker)) == 1


def test_what_the_upstream_said_is_in_the_log(gateway: Gateway, upstream: Upstream) -> None:
    leaking = {"detail": "Ask http://secret.example/x for req_abc."}
    answer = gateway.post(ask(refuse(upstream, 400, leaking)))
    request_id = answer.headers["x-request-id"]
    (line,) = wait_until(
        lambda: [
            line for line in gateway.events("upstream_refused") if line["request_id"] == request_id
        ],
        "it is logged",
    )
    assert (line["upstream_said"], line["error_code"]) == ("Ask ... for ....", "invalid_value")
    assert answer.json()["error"]["message"] == "Ask ... for ...."


@pytest.mark.parametrize("form", ['{"error":{"message":"%s"}}', "%s"])
def test_a_text_of_any_size_is_cut_before_anything_is_done_with_it(
    gateway: Gateway, upstream: Upstream, form: str
) -> None:
    # What looks for paths in it takes time that grows with its square.
    answer = gateway.post(ask(refuse(upstream, 400, form % ("/a-/b " * 700_000))))
    error = answer.json()["error"]
    assert (answer.status_code, error["retryable"]) == (400, False)
    assert error["message"].startswith("/a-/b ")
    assert len(error["message"]) <= 1000
    request_id = answer.headers["x-request-id"]
    (line,) = wait_until(
        lambda: [
            line for line in gateway.events("upstream_refused") if line["request_id"] == request_id
        ],
        "it is logged",
    )
    assert len(line["upstream_said"]) <= 1000


def test_a_model_that_is_too_new_is_the_operator_s_to_mend(
    gateway: Gateway, upstream: Upstream
) -> None:
    answer = gateway.post(ask(refuse(upstream, 400, {"detail": NEWER})))
    request_id = answer.headers["x-request-id"]
    (line,) = wait_until(
        lambda: [it for it in gateway.events("codex_outdated") if it["request_id"] == request_id],
        "the log says so",
    )
    assert line["upstream_said"] == NEWER


@pytest.mark.parametrize(
    ("status", "body", "has"),
    [
        (402, {"detail": {"code": "deactivated_workspace"}}, "deactivated_workspace"),
        (
            403,
            {
                "detail": {
                    "code": "invalid_workspace_selected",
                    "message": "Invalid workspace selected.",
                }
            },
            "Invalid workspace selected.",
        ),
        (403, {"error": {"message": "Invalid workspace selected."}}, "Invalid workspace selected."),
        (401, {"detail": "Could not parse your authentication token."}, "Could not parse"),
    ],
)
def test_what_is_the_account_s_is_not_the_caller_s_and_is_shown_as_unready(
    make_gateway: Callable[..., Gateway], upstream: Upstream, status: int, body: Any, has: str
) -> None:
    gateway = make_gateway()
    answer = gateway.post(ask(refuse(upstream, status, body)))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["retryable"]) == (503, "UPSTREAM_AUTH", False)
    assert has in error["message"]
    ready = gateway.get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, "upstream_auth")


def test_an_overflow_in_the_middle_of_a_stream_is_told_in_the_same_words(
    gateway: Gateway, upstream: Upstream
) -> None:
    failure = {"name": "failed_context_length_exceeded", "after_deltas": 1}
    marker = upstream.say("one ", "two", failure=failure, hold="deltas")
    answer = gateway.post(ask(marker, stream=True), stream=True)
    lines = answer.iter_lines(decode_unicode=True)
    assert any('"one "' in line for line in lines)
    upstream.control.release(marker)
    frames = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    error = frames[-1]["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert error["message"] == (
        "Input tokens exceed the configured limit: your input exceeds the context window of this model, "
        "its maximum context length. Please reduce the length of the messages."
    )


def test_an_overflow_of_a_prompt_names_the_prompt(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"failure": "context_length_exceeded"})
    with gateway.sdk() as sdk, pytest.raises(openai.BadRequestError) as raised:
        sdk.completions.create(model="gpt-5.5", prompt=f"[{marker}]")
    assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "prompt")
    assert raised.value.message.endswith("Please reduce the length of the prompt.")
