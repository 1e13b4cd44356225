"""The legacy endpoint, `POST /v1/completions`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
import requests
from openai.types import Completion

from tests.e2e.harness import DEADLINE_S, MODEL, Gateway, Upstream
from tests.e2e.raw_http import exchange, parse_frames, request_bytes


def post(gateway: Gateway, **body: Any) -> requests.Response:
    return requests.post(
        f"{gateway.url}/v1/completions",
        json={"model": MODEL, **body},
        headers=gateway.headers,
        timeout=DEADLINE_S,
    )


def test_a_prompt_is_completed(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.say("a", "a", "b", usage={"input_tokens": 5, "output_tokens": 3})
    answer = sdk.completions.create(model=MODEL, prompt=f"Say {marker}")
    assert answer.choices[0].text == "aab"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.id.startswith("cmpl-")
    assert answer.object == "text_completion"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 8
    (request,) = upstream.control.requests(marker)
    (item,) = request["body"]["input"]
    assert (item["role"], item["content"][0]["text"]) == ("user", f"Say {marker}")


@pytest.mark.parametrize("include_usage", [True, False])
def test_every_frame_of_a_stream(
    lend_gateway: Callable[..., Gateway], upstream: Upstream, include_usage: bool
) -> None:
    gateway = lend_gateway(PROXY_STREAM_COMMIT_MS="60000")
    body = {
        "model": MODEL,
        "prompt": upstream.say("a", "b"),
        "stream": True,
        "stream_options": {"include_usage": include_usage},
    }
    sent = request_bytes("POST", "/v1/completions", json.dumps(body).encode())
    status, headers, raw = exchange(gateway, sent)
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    *frames, done = parse_frames(raw)
    assert done == "[DONE]"
    for frame in frames:
        checked = Completion.model_validate(
            {**frame, "choices": [{**c, "finish_reason": "stop"} for c in frame["choices"]]}
        )
        assert set(checked.model_extra or {}) <= {"codex_metadata"}
    if include_usage:
        usage = frames.pop()
        assert usage["choices"] == []
        assert usage["usage"]["completion_tokens"] == 2
    choices = [frame["choices"][0] for frame in frames]
    assert [choice["text"] for choice in choices] == ["a", "b", ""]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]


def test_a_stream_is_there_before_its_text(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play(
        {"hold_before_headers": True, "items": [{"type": "message", "text": "x"}]}
    )
    body = {"model": MODEL, "prompt": marker, "stream": True}
    with requests.post(
        f"{gateway.url}/v1/completions",
        json=body,
        headers=gateway.headers,
        stream=True,
        timeout=DEADLINE_S,
    ) as response:
        lines = filter(None, response.iter_lines())
        first = json.loads(next(lines).removeprefix(b"data: "))
        upstream.control.wait("held", marker)
        upstream.control.release(marker)
        assert list(lines)[-1] == b"data: [DONE]"
    assert first["choices"] == [{"index": 0, "text": "", "logprobs": None, "finish_reason": None}]


def test_prompts_and_choices_have_their_indices(gateway: Gateway, upstream: Upstream) -> None:
    first, second = upstream.say("one"), upstream.say("two")
    answer = post(gateway, prompt=[first, second], n=2).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in answer["choices"]] == ["one", "one", "two", "two"]


def test_an_echo_comes_first(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("!")
    assert post(gateway, prompt=marker, echo=True).json()["choices"][0]["text"] == f"{marker}!"


def test_a_stop_sequence_and_a_limit(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("a", "b", "c")
    assert post(gateway, prompt=marker, stop="bc").json()["choices"][0]["text"] == "a"
    cut = post(gateway, prompt=marker, max_tokens=2).json()["choices"][0]
    assert (cut["text"], cut["finish_reason"]) == ("ab", "length")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "prompt"),
        ({"prompt": []}, "empty_array", "prompt"),
        ({"prompt": 5}, "invalid_type", "prompt"),
        ({"prompt": ["a", [1, 2]]}, "invalid_type", "prompt[1]"),
        ({"prompt": "x", "suffix": "y"}, "unsupported_parameter", "suffix"),
        ({"prompt": "x", "logprobs": 2}, "unsupported_parameter", "logprobs"),
        ({"prompt": "x", "best_of": 3}, "unsupported_parameter", "best_of"),
        ({"prompt": ["x"] * 9}, "array_above_max_length", "prompt"),
    ],
)
def test_a_bad_field_is_named(
    gateway: Gateway, body: dict[str, Any], code: str, param: str
) -> None:
    answer = post(gateway, **body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)


def test_the_endpoint_needs_the_key(gateway: Gateway) -> None:
    answer = requests.post(f"{gateway.url}/v1/completions", json={}, timeout=DEADLINE_S)
    assert answer.status_code == 401
