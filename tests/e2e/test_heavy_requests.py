"""Requests and answers of the largest kinds: too much for codex is refused, and what ran away is not repeated."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.harness import Gateway, Upstream, ask
from tests.e2e.routes import Route, on_each_route

SHORT = "v"
WORD = "word " * 2_000


def tools(count: int, values: int, text: str = "") -> list[dict[str, Any]]:
    lists = [{"enum": [SHORT] * 4_000} for _ in range(values // 4_000)]
    properties = {f"p{place}": schema for place, schema in enumerate(lists)}
    parameters = {"type": "object", "properties": properties}
    functions = [
        {"name": f"f{place}", "description": text, "parameters": parameters}
        for place in range(count)
    ]
    return [{"type": "function", "function": function} for function in functions]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"tools": tools(2, 28_000)}, "TOOLS_TOO_LARGE"),
        ({"tools": tools(1, 0, "x" * 3_000_000)}, "TOOLS_TOO_LARGE"),
        ({"functions": [{"name": f"f{n}"} for n in range(129)]}, "array_above_max_length"),
    ],
)
def test_tools_that_codex_would_parse_for_long_are_refused(
    gateway: Gateway, upstream: Upstream, more: dict[str, Any], code: str
) -> None:
    marker = upstream.say("unheard")
    answer = gateway.post(ask(marker, **more))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["retryable"]) == (400, code, False)
    assert error["param"] == next(iter(more))
    assert upstream.control.requests(marker) == []


def test_tools_of_a_large_agent_pass(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("fine")
    answer = gateway.post(ask(marker, tools=tools(128, 0, "what it does " * 200)))
    assert answer.json()["choices"][0]["message"]["content"] == "fine"
    (request,) = upstream.control.requests(marker)
    assert len(request["body"]["tools"]) == 128


def test_a_long_history_arrives_whole_and_in_order(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("fine")
    past = [
        {"role": "user", "content": f"{n} {WORD}" if n % 100 == 0 else str(n)} for n in range(2_000)
    ]
    body = ask(marker)
    body["messages"] = past + body["messages"]
    assert gateway.post(body).status_code == 200
    (request,) = upstream.control.requests(marker)
    sent = [item["content"][0]["text"] for item in request["body"]["input"]]
    assert sent[:-1] == [message["content"] for message in past]


@on_each_route
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_without_an_end_is_cut_off_and_not_asked_for_again(
    gateway: Gateway, upstream: Upstream, route: Route, *, is_stream: bool
) -> None:
    endless = {"type": "message", "deltas": [WORD] * 1_200}
    # A stream slow enough for a client that reads it, and not too slow for one.
    marker = upstream.play({"items": [endless], "interval_ms": 2 if is_stream else 0})
    answer = route.post(gateway, route.ask(marker, stream=is_stream))
    assert '"code":"ANSWER_TOO_LARGE"' in answer.text[-1_000:]
    assert '"retryable":false' in answer.text[-1_000:]
    assert len(upstream.control.requests(marker)) == 1


@on_each_route
def test_a_piece_that_is_too_large_to_be_read_ends_its_turn_alone(
    gateway: Gateway, upstream: Upstream, route: Route
) -> None:
    marker = upstream.play({"items": [{"type": "message", "deltas": ["x" * 9_000_000]}]})
    error = route.post(gateway, route.ask(marker)).json()["error"]
    assert (error["code"], error["retryable"]) == ("ANSWER_TOO_LARGE", False)
    assert len(upstream.control.requests(marker)) == 1


@pytest.mark.app_server  # it is the same child as before
@on_each_route
@pytest.mark.parametrize("body", ["x" * 20_000_000, {"error": {"message": "x" * 20_000_000}}])
def test_a_refusal_that_is_too_large_to_be_read_ends_its_turn_alone(
    gateway: Gateway, upstream: Upstream, body: Any, route: Route
) -> None:
    child = gateway.child()
    marker = upstream.play({"failure": {"name": "bad_request", "body": body}})
    answer = route.post(gateway, route.ask(marker))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (502, "ANSWER_TOO_LARGE")
    assert error["retryable"] is False
    assert len(upstream.control.requests(marker)) == 1
    answer = route.post(gateway, route.ask(upstream.say("fine")))
    assert route.said(answer.json()) == "fine"
    assert gateway.child() == child


@pytest.mark.app_server  # both requests are on the child that is killed
def test_a_large_request_is_not_tried_again_after_the_end_of_its_child(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway()
    held = {"items": [{"type": "message", "deltas": ["fine"]}], "hold_before_headers": True}
    large, small = (upstream.play([held, {**held, "hold_before_headers": False}]) for _ in "ab")
    body = ask(large)
    body["messages"].insert(0, {"role": "user", "content": "x" * 5_000_000})
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(gateway.post, body), pool.submit(gateway.post, ask(small))]
        for marker in (large, small):
            upstream.control.wait("arrived", marker)
        gateway.child().kill()
        suspect, innocent = (answer.result() for answer in answers)
    error = suspect.json()["error"]
    assert (suspect.status_code, error["code"]) == (503, "REQUEST_SUSPECTED")
    assert suspect.headers["x-should-retry"] == "false"
    assert len(upstream.control.requests(large)) == 1
    assert innocent.json()["choices"][0]["message"]["content"] == "fine"
    assert len(upstream.control.requests(small)) == 2
