"""The frame contract of a streamed chat completion, frame by frame."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.e2e.harness import DEADLINE_S, KEY, MODEL, Gateway, Upstream, ask
from tests.e2e.in_flight import failing, releasing
from tests.e2e.raw_http import exchange, request_bytes, stream_frames

ENVELOPE = {"id", "object", "created", "model", "system_fingerprint", "choices"}
METADATA = {
    "thread_id",
    "turn_id",
    "model",
    "effort",
    "ignored_parameters",
    "adjusted_parameters",
    "ttft_ms",
    "duration_ms",
    "upstream",
    "usage_estimated",
    "continued",
    "cached_tokens",
}


TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}
OF_TEXT = {"role": "assistant", "content": ""}
OF_NO_TEXT = {"role": "assistant", "content": None}
UNDECIDED = {"role": "assistant"}

TEXT = {"type": "message", "deltas": ["a", "b"]}
CALL = {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "call_1"}
REASONING = {"type": "reasoning", "summary_deltas": ["hm"]}


def test_the_headers_of_a_stream(gateway: Gateway, upstream: Upstream) -> None:
    headers, _ = stream_frames(gateway, ask(upstream.say("x")))
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-request-id"].startswith("req_")


@pytest.fixture
def patient(lend_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway that waits until something is known of the answer, however slow the machine is."""
    return lend_gateway(PROXY_STREAM_COMMIT_MS="60000")


@pytest.mark.parametrize("include_usage", [True, False, None])
def test_every_frame_of_a_stream(
    patient: Gateway, upstream: Upstream, include_usage: bool | None
) -> None:
    options = {} if include_usage is None else {"stream_options": {"include_usage": include_usage}}
    before = int(time.time())
    _, frames = stream_frames(patient, ask(upstream.say("a", "a", "b"), **options))
    assert frames.pop() == "[DONE]"
    usage_frames = [frames.pop()] if include_usage else []
    role, *contents, finish = frames

    members = ENVELOPE | ({"usage"} if include_usage else set())
    for frame in (role, *contents, finish, *usage_frames):
        assert set(frame) - {"codex_metadata"} == members
        assert frame["object"] == "chat.completion.chunk"
        assert frame["model"] == MODEL
        strict_chunk(frame)
    everything = [*frames, *usage_frames]
    assert len({frame["id"] for frame in everything}) == 1
    assert role["id"].startswith("chatcmpl-")
    assert len({frame["created"] for frame in everything}) == 1
    assert before <= role["created"] <= time.time()

    assert choice(role)["delta"] == {"role": "assistant", "content": ""}
    assert [choice(frame)["delta"] for frame in contents] == [{"content": c} for c in "aab"]
    assert [choice(frame)["finish_reason"] for frame in (role, *contents)] == [None] * 4
    assert choice(finish) == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert set(finish["codex_metadata"]) == METADATA
    assert all("codex_metadata" not in frame for frame in (role, *contents, *usage_frames))
    if include_usage:
        assert all(frame["usage"] is None for frame in frames)
        assert usage_frames[0]["choices"] == []
        assert usage_frames[0]["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize(
    ("items", "more", "roles"),
    [
        ([TEXT], {}, [OF_TEXT]),
        ([TEXT, CALL], {"tools": [TOOL]}, [OF_TEXT]),
        ([CALL], {"tools": [TOOL]}, [OF_NO_TEXT]),
        ([CALL], {"tools": [TOOL], "tool_choice": "required"}, [OF_NO_TEXT]),
        ([CALL], {"functions": [TOOL["function"]]}, [OF_NO_TEXT]),
        ([REASONING, TEXT], {}, [UNDECIDED]),
        ([REASONING, CALL], {"tools": [TOOL]}, [UNDECIDED]),
    ],
)
def test_the_role_frame_says_of_the_content_what_is_known(
    patient: Gateway, upstream: Upstream, items: list[Any], more: Any, roles: list[Any]
) -> None:
    _, frames = stream_frames(patient, ask(upstream.play({"items": items}), **more))
    assert [delta for delta in deltas(frames) if "role" in delta] == roles
    assert choice(frames[0])["delta"] == roles[0]
    if TEXT not in items:
        assert all(delta.get("content") is None for delta in deltas(frames))


def test_every_choice_begins_with_a_role_frame(gateway: Gateway, upstream: Upstream) -> None:
    body = ask(upstream.play({"items": [CALL]}), n=3, tools=[TOOL])
    _, frames = stream_frames(gateway, body)
    choices = [one for frame in frames[:-1] for one in frame["choices"]]
    for index in range(3):
        first, *rest = [one["delta"] for one in choices if one["index"] == index]
        assert first in (UNDECIDED, OF_NO_TEXT)
        assert all("role" not in delta and "content" not in delta for delta in rest)


def test_a_refusal_is_no_text(gateway: Gateway, upstream: Upstream) -> None:
    item = {"type": "message", "deltas": [], "refusal": "I can't."}
    _, frames = stream_frames(gateway, ask(upstream.play({"items": [item]})))
    assert deltas(frames)[0]["role"] == "assistant"
    assert all(delta.get("content") is None for delta in deltas(frames))


def test_a_whole_answer_is_what_the_openai_types_say(gateway: Gateway, upstream: Upstream) -> None:
    answer = gateway.post(ask(upstream.say("a", "b"), temperature=0.3, seed=7)).json()
    checked = ChatCompletion.model_validate(answer, strict=True)
    assert set(checked.model_extra or {}) == {"codex_metadata"}
    assert not extras_below(checked)
    assert answer["codex_metadata"]["ignored_parameters"] == ["temperature", "seed"]
    assert answer["codex_metadata"]["upstream"] == "custom"


def test_the_role_frame_goes_out_while_the_upstream_is_still_silent(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.play(
        {"hold_before_headers": True, "items": [{"type": "message", "text": "x"}]}
    )
    with gateway.post(ask(marker, stream=True), stream=True) as response:
        lines = response.iter_lines()
        first = json.loads(next(lines).removeprefix(b"data: "))
        assert choice(first)["delta"] == UNDECIDED
        upstream.control.wait("held", marker)
        upstream.control.release(marker)
        assert list(lines)[-2:] == [b"data: [DONE]", b""]


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("held", [{"hold_before_headers": True}, {"hold_after": 1}])
def test_a_quiet_stream_is_kept_open_by_frames_that_add_nothing(
    lend_gateway: Any, upstream: Upstream, held: dict[str, Any], include_usage: bool
) -> None:
    gateway = lend_gateway(PROXY_SSE_KEEPALIVE_MS="50", PROXY_STREAM_COMMIT_MS="50")
    marker = upstream.play({**held, "items": [TEXT]})
    options = {"stream_options": {"include_usage": include_usage}}
    frames, signs = [], 0
    with gateway.post(ask(marker, stream=True, **options), stream=True) as response:
        for line in filter(None, response.iter_lines()):
            if line == b"data: [DONE]":
                break
            frames.append(json.loads(line.removeprefix(b"data: ")))
            before, signs = signs, signs + (frames[-1] == sign_of_life(frames[0]))
            if before < signs == 3:
                upstream.control.wait("held", marker)
                upstream.control.release(marker)
    assert signs >= 3
    role, *heard = [delta for delta in deltas(frames) if delta]
    assert heard == [{"content": "a"}, {"content": "b"}]
    if "hold_before_headers" in held:
        assert role == UNDECIDED
    for frame in frames:
        strict_chunk(frame)


def test_a_failure_after_the_first_text_is_one_error_frame(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.play(failing("abc"))
    _, frames = stream_frames(gateway, ask(marker), releasing(upstream, marker, "b"))
    *contents, error, done = frames
    assert done == "[DONE]"
    assert set(error) == {"error"}
    assert error["error"]["code"] == "UPSTREAM_ERROR"
    assert error["error"]["retryable"] is True
    assert [delta["content"] for delta in deltas(contents) if delta.get("content")] == ["a", "b"]
    assert all(choice(frame)["finish_reason"] is None for frame in contents)


@pytest.mark.parametrize(
    ("status", "reason"), [("max_output_tokens", "length"), ("content_filter", "content_filter")]
)
def test_an_incomplete_answer_has_its_finish_reason(
    gateway: Gateway, upstream: Upstream, status: str, reason: str
) -> None:
    marker = upstream.say("part", "ial", status=status)
    answer = gateway.post(ask(marker)).json()
    assert answer["choices"][0]["finish_reason"] == reason
    assert answer["choices"][0]["message"]["content"] == "partial"


def test_an_answer_cut_at_its_length_has_its_usage(gateway: Gateway, upstream: Upstream) -> None:
    usage = {"input_tokens": 50, "output_tokens": 33}
    marker = upstream.say("part", "ial", status="max_output_tokens", usage=usage)
    assert gateway.post(ask(marker)).json()["usage"]["total_tokens"] == 83


def test_the_headers_that_openai_has(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("x", delay_ms=200)
    answers = [gateway.post(ask(marker)), gateway.post({}), gateway.get("/v1/models", key=False)]
    assert [answer.status_code for answer in answers] == [200, 400, 401]
    for answer in answers:
        assert answer.headers["openai-version"] == "2020-10-01"
        assert 0 <= int(answer.headers["openai-processing-ms"]) <= DEADLINE_S * 1000
    assert int(answers[0].headers["openai-processing-ms"]) >= 200, "the upstream's time is in it"
    streamed, _ = stream_frames(gateway, ask(marker))
    assert int(streamed["openai-processing-ms"]) >= 200
    assert not [name for name in gateway.get("/livez").headers if name.startswith("openai-")]


def test_a_request_id_of_the_caller_comes_back(gateway: Gateway) -> None:
    _, headers, _ = exchange(gateway, request_bytes("GET", "/livez", X_Request_Id="abc-1.2_3"))
    assert headers["x-request-id"] == "abc-1.2_3"


@pytest.mark.parametrize("offered", ["a" * 129, "a b", "ä", "<x>", '"'])
def test_a_request_id_of_another_form_is_replaced(gateway: Gateway, offered: str) -> None:
    sent = request_bytes("GET", "/livez", X_Request_Id=offered)
    _, headers, _ = exchange(gateway, sent)
    assert headers["x-request-id"].startswith("req_")


def test_the_key_is_accepted_whatever_the_case_of_its_scheme(gateway: Gateway) -> None:
    status, _, _ = exchange(
        gateway, request_bytes("GET", "/v1/models", Authorization=f"bearer {KEY}")
    )
    assert status == 200


def deltas(frames: list[Any]) -> list[dict[str, Any]]:
    return [choice(frame)["delta"] for frame in frames if frame != "[DONE]" and frame["choices"]]


def sign_of_life(first: dict[str, Any]) -> dict[str, Any]:
    """What keeps a stream open whose first frame is this one."""
    silent = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}
    return {**first, "choices": [silent]}


def choice(frame: dict[str, Any]) -> dict[str, Any]:
    (only,) = frame["choices"]
    return dict(only)


def strict_chunk(frame: dict[str, Any]) -> None:
    checked = ChatCompletionChunk.model_validate(frame, strict=True)
    assert set(checked.model_extra or {}) <= {"codex_metadata"}
    assert not extras_below(checked)


def extras_below(model: Any) -> list[str]:
    """Names that the OpenAI types do not know, anywhere below the top."""
    found: list[str] = []
    for value in vars(model).values():
        for part in value if isinstance(value, list) else [value]:
            if hasattr(part, "model_extra"):
                found += list(part.model_extra or {}) + extras_below(part)
    return found
