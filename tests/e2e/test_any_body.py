"""Whatever JSON is sent: an answer or a typed refusal, never a 5xx, never HTML."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.harness import MODEL, Gateway, Upstream
from tests.e2e.raw_http import exchange, request_bytes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = (
    *(
        "model",
        "messages",
        "stream",
        "stream_options",
        "n",
        "stop",
        "tools",
        "tool_choice",
        "functions",
    ),
    *(
        "function_call",
        "response_format",
        "max_tokens",
        "temperature",
        "reasoning_effort",
        "logprobs",
    ),
    *(
        "parallel_tool_calls",
        "verbosity",
        "service_tier",
        "modalities",
        "logit_bias",
        "prompt",
        "echo",
    ),
)
ROLES = st.sampled_from(["user", "system", "assistant", "tool", "function", "developer", "robot"])
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES},
    optional={
        "content": JSON
        | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": JSON}), max_size=2),
        "tool_calls": JSON,
        "tool_call_id": JSON,
        "name": JSON,
        "refusal": JSON,
        "function_call": JSON,
    },
)
RIGHT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "prompt": "hi"}
# One field alone is wrong with them: where several are, the first one hides the others.
WRONG = st.builds(lambda name, value: {**RIGHT, name: value}, st.sampled_from(NAMES), JSON)
BODY = JSON | WRONG
BODY |= st.fixed_dictionaries(
    {"model": st.just(MODEL) | JSON},
    optional={
        "messages": st.lists(MESSAGE, max_size=3) | JSON,
        **{name: JSON for name in NAMES if name not in {"model", "messages", "n"}},
    },
)


@pytest.fixture
def quick(upstream: Upstream) -> str:
    """A prompt whose answer is short: the built-in one takes two seconds, and many bodies get one."""
    return upstream.say("x")


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.timeout(240)
@given(path=st.sampled_from(["/v1/chat/completions", "/v1/completions"]), body=BODY)
def test_any_json_is_answered_or_refused(
    gateway: Gateway, quick: str, path: str, body: Any
) -> None:
    raw = json.dumps(body).replace('"hi"', f'"{quick}"').encode()
    status, headers, answer = exchange(gateway, request_bytes("POST", path, raw))
    if status == 200:
        assert headers["content-type"] in {"application/json", "text/event-stream"}
        return
    assert 400 <= status < 500, (status, answer, body)
    error = json.loads(answer)["error"]
    assert set(error) == {"message", "type", "param", "code", "retryable"}
    assert error["message"]
