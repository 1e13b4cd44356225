"""An upstream that says nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import ROOT, Gateway, Upstream, ask, end, start_gateway, wait_until
from tests.e2e.raw_http import stream_frames
from tests.e2e.routes import Route, on_each_route


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that waits two seconds for the upstream's first event, and six for the whole."""
    running = start_gateway(
        tmp_path_factory.mktemp("hasty"),
        upstream,
        WORKER_REQUEST_TIMEOUT_MS="2000",
        PROXY_TIMEOUT_MS="6000",
        PROXY_STREAM_COMMIT_MS="100",
    )
    running.wait_ready()
    yield running
    end(running)


@on_each_route
@pytest.mark.parametrize("failure", ["hang_before_headers", "hang_after_headers"])
def test_silence_is_a_504_and_the_upstream_is_let_go(
    hasty: Gateway, upstream: Upstream, failure: str, route: Route
) -> None:
    marker = upstream.play({"failure": failure})
    answer = route.post(hasty, route.ask(marker))
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "WORKER_TIMEOUT"
    assert answer.json()["error"]["type"] == "timeout_error"
    upstream.control.wait("peer_closed", marker)
    wait_until(lambda: hasty.get("/healthz").json()["child"]["running"] == 0, "no turn runs")


@on_each_route
def test_a_stream_that_was_begun_says_it_in_a_frame(
    hasty: Gateway, upstream: Upstream, route: Route
) -> None:
    marker = upstream.play({"failure": "hang_before_headers"})
    told = route.stream(hasty, route.ask(marker))
    assert (told.begun, told.code, told.text) == (1, "WORKER_TIMEOUT", "")
    upstream.control.wait("peer_closed", marker)


@on_each_route
def test_a_stall_in_the_middle_ends_with_an_error_frame(
    hasty: Gateway, upstream: Upstream, route: Route
) -> None:
    items = [{"type": "message", "deltas": ["a", "b"]}]
    failure = {"name": "hang_mid_stream", "after_deltas": 2}
    marker = upstream.play({"items": items, "failure": failure})
    told = route.stream(hasty, route.ask(marker))
    assert (told.text, told.code) == ("ab", "UPSTREAM_ERROR")
    upstream.control.wait("peer_closed", marker)


@on_each_route
def test_a_whole_request_has_a_deadline_too(
    hasty: Gateway, upstream: Upstream, route: Route
) -> None:
    items = [{"type": "message", "text": "tick ", "repeat": 1000}]
    marker = upstream.play({"items": items, "interval_ms": 20})
    answer = route.post(hasty, route.ask(marker))
    assert answer.status_code == 504
    upstream.control.wait("peer_closed", marker)


@pytest.fixture
def forgetful(make_gateway: Any, tmp_path: Path) -> Callable[[str], Gateway]:
    """Gateways whose child loses some of its notifications, and that are not patient."""

    def make(lost: str) -> Gateway:
        shim = ROOT / "tests" / "fakes" / "forgetful_codex.py"
        wrapper = tmp_path / "codex"
        wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{shim}" "{lost}" "$@"\n')
        wrapper.chmod(0o755)
        gateway: Gateway = make_gateway(CODEX_BIN=str(wrapper), WORKER_REQUEST_TIMEOUT_MS="3000")
        return gateway

    return make


LOST = [
    ("turn/completed", False),
    ("turn/completed,rawResponse/completed", False),
    ("turn/completed,rawResponse/completed,thread/tokenUsage/updated", True),
]


@pytest.mark.parametrize(("lost", "is_estimated"), LOST)
@pytest.mark.parametrize("with_tools", [False, True])
def test_an_answer_is_whole_although_codex_lost_its_end(
    forgetful: Any, upstream: Upstream, lost: str, *, is_estimated: bool, with_tools: bool
) -> None:
    gateway = forgetful(lost)
    body = ask(upstream.say("Hel", "l", "lo"))
    if with_tools:
        body["tools"] = [{"type": "function", "function": {"name": "f"}}]
    with ThreadPoolExecutor(2) as pool:  # each waits for the end that is lost
        asked = pool.submit(gateway.post, body)
        streamed = pool.submit(stream_frames, gateway, body)
        answer, (_, frames) = asked.result().json(), streamed.result()
    assert answer["choices"][0]["message"]["content"] == "Helllo"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["codex_metadata"]["usage_estimated"] is is_estimated
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    wait_until(lambda: gateway.get("/healthz").json()["child"]["running"] == 0, "no turn runs")
    assert len(gateway.events("turn_end_lost")) == 2
    assert gateway.get("/healthz").json()["child"]["counters"]["turn_end_lost"] >= 2


def test_an_answer_whose_half_was_lost_is_not_waited_for_either(
    forgetful: Any, upstream: Upstream
) -> None:
    gateway = forgetful("turn/completed,rawResponse/completed,rawResponseItem/completed")
    answer = gateway.post(ask(upstream.say("Hel", "lo")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "WORKER_TIMEOUT")


def test_a_call_that_the_model_writes_for_long_is_waited_for(
    lend_gateway: Any, upstream: Upstream
) -> None:
    """codex tells nothing of a call before its arguments are whole: here for longer than any other silence may last."""
    gateway = lend_gateway(WORKER_REQUEST_TIMEOUT_MS="2000")  # so that is four seconds
    arguments = json.dumps({"text": "x" * 116})
    call = {"type": "function_call", "name": "f", "argument_chunks": len(arguments) // 2}
    items = [{"type": "message", "deltas": ["Look."]}, {**call, "arguments": arguments}]
    marker = upstream.play({"items": items, "interval_ms": 80})
    body = ask(marker, tools=[{"type": "function", "function": {"name": "f"}}])
    message = gateway.post(body).json()["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["arguments"] == arguments
    assert gateway.events("turn_end_lost") == []


def test_an_upstream_that_cannot_be_reached_is_told_at_once(make_gateway: Any) -> None:
    gateway = make_gateway(with_upstream=False, CODEX_UPSTREAM_URL="http://127.0.0.1:9/v1")
    answer = gateway.post(ask("hello"))
    assert answer.status_code == 502
    assert answer.json()["error"]["message"] == "The upstream cannot be reached."


def test_hidden_reasoning_is_silence_to_a_reader(lend_gateway: Any, upstream: Upstream) -> None:
    gateway = lend_gateway(PROXY_REASONING="off", PROXY_SSE_KEEPALIVE_MS="50")
    items = [
        {"type": "reasoning", "summary_deltas": ["hm"] * 20},
        {"type": "message", "deltas": ["x"]},
    ]
    marker = upstream.play({"items": items, "interval_ms": 20})
    with gateway.post(ask(marker, stream=True), stream=True) as response:
        lines = [line for line in response.iter_lines() if line]
    assert b'"role":"assistant"' in lines[0]
    silent = [line for line in lines if b'"delta":{},"logprobs":null,"finish_reason":null' in line]
    assert len(silent) >= 3
