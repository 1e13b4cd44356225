"""An upstream that says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import Gateway, Upstream, ask, end, start_gateway, wait_until
from tests.e2e.raw_http import stream_frames


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that waits half a second for the upstream's first event, and two for the whole."""
    running = start_gateway(
        tmp_path_factory.mktemp("hasty"),
        upstream,
        WORKER_REQUEST_TIMEOUT_MS="500",
        PROXY_TIMEOUT_MS="2000",
        PROXY_STREAM_COMMIT_MS="100",
    )
    running.wait_ready()
    yield running
    end(running)


@pytest.mark.parametrize("failure", ["hang_before_headers", "hang_after_headers"])
def test_silence_is_a_504_and_the_upstream_is_let_go(
    hasty: Gateway, upstream: Upstream, failure: str
) -> None:
    marker = upstream.play({"failure": failure})
    answer = hasty.post(ask(marker))
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "WORKER_TIMEOUT"
    assert answer.json()["error"]["type"] == "timeout_error"
    upstream.control.wait("peer_closed", marker)
    wait_until(lambda: hasty.get("/healthz").json()["child"]["running"] == 0, "no turn runs")


def test_a_stream_that_was_begun_says_it_in_a_frame(hasty: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"failure": "hang_before_headers"})
    _, frames = stream_frames(hasty, ask(marker))
    assert frames[0]["choices"][0]["delta"]["role"] == "assistant"
    assert frames[1]["error"]["code"] == "WORKER_TIMEOUT"
    assert frames[2:] == ["[DONE]"]
    upstream.control.wait("peer_closed", marker)


def test_a_stall_in_the_middle_ends_with_an_error_frame(hasty: Gateway, upstream: Upstream) -> None:
    items = [{"type": "message", "deltas": ["a", "b"]}]
    failure = {"name": "hang_mid_stream", "after_deltas": 2}
    marker = upstream.play({"items": items, "failure": failure})
    _, frames = stream_frames(hasty, ask(marker))
    assert frames[-2]["error"]["code"] == "UPSTREAM_ERROR"
    upstream.control.wait("peer_closed", marker)


def test_a_whole_request_has_a_deadline_too(hasty: Gateway, upstream: Upstream) -> None:
    items = [{"type": "message", "text": "tick ", "repeat": 1000}]
    marker = upstream.play({"items": items, "interval_ms": 20})
    answer = hasty.post(ask(marker))
    assert answer.status_code == 504
    upstream.control.wait("peer_closed", marker)


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
