"""A turn that came to nothing by accident is run once more, as long as the client has seen nothing of its answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.harness import Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import failing, releasing
from tests.e2e.routes import Route, on_each_route

ANSWER = ["He", "l", "l", "o", " l", "lo"]
SAID = {"items": [{"type": "message", "deltas": ANSWER}]}
BROKE_OFF = {**SAID, "failure": {"name": "cut_mid_stream", "after_deltas": 3}}
FAILED = [
    {"failure": "eof_before_headers"},
    {"failure": "server_error"},
    {"failure": "bad_gateway"},
    BROKE_OFF,
]


@on_each_route
@pytest.mark.parametrize("failed", FAILED, ids=["disconnect", "500", "502", "after three deltas"])
def test_a_whole_answer_is_asked_for_again(
    gateway: Gateway, upstream: Upstream, failed: dict[str, Any], route: Route
) -> None:
    marker = upstream.play([failed, SAID])
    body = route.post(gateway, route.ask(marker)).json()
    assert route.said(body) == "".join(ANSWER)
    assert len(upstream.control.requests(marker)) == 2


@on_each_route
@pytest.mark.parametrize("failed", FAILED[:3], ids=["disconnect", "500", "502"])
def test_a_stream_that_showed_nothing_is_begun_again(
    gateway: Gateway, upstream: Upstream, failed: dict[str, Any], route: Route
) -> None:
    marker = upstream.play([failed, SAID])
    told = route.stream(gateway, route.ask(marker))
    assert (told.text, told.begun) == ("".join(ANSWER), 1)
    assert len(upstream.control.requests(marker)) == 2


def test_only_the_choice_that_failed_is_asked_again(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play([{"failure": "eof_before_headers"}, SAID])
    body = gateway.post(ask(marker, n=2)).json()
    assert [one["message"]["content"] for one in body["choices"]] == ["".join(ANSWER)] * 2
    assert len(upstream.control.requests(marker)) == 3


@on_each_route
def test_it_is_tried_once_and_not_again(gateway: Gateway, upstream: Upstream, route: Route) -> None:
    marker = upstream.play([{"failure": "eof_before_headers"}])
    answer = route.post(gateway, route.ask(marker))
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "UPSTREAM_ERROR")
    assert len(upstream.control.requests(marker)) == 2


@on_each_route
@pytest.mark.parametrize(
    "failure", ["rate_limited", "insufficient_quota", "invalid_api_key", "bad_request"]
)
def test_what_was_refused_is_not_asked_again(
    gateway: Gateway, upstream: Upstream, failure: str, route: Route
) -> None:
    marker = upstream.play([{"failure": failure}, SAID])
    assert route.post(gateway, route.ask(marker)).status_code >= 400
    assert len(upstream.control.requests(marker)) == 1


@on_each_route
def test_text_that_was_seen_is_never_said_twice(
    gateway: Gateway, upstream: Upstream, route: Route
) -> None:
    marker = upstream.play([failing(ANSWER, after=3), SAID])
    told = route.stream(gateway, route.ask(marker), releasing(upstream, marker, ANSWER[0]))
    assert told.text == "".join(ANSWER[:3])  # and not a letter of it is lost
    assert told.code == "UPSTREAM_ERROR"
    assert len(upstream.control.requests(marker)) == 1


@on_each_route
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_child_that_dies_under_a_request_costs_nothing(
    make_gateway: Callable[..., Gateway], upstream: Upstream, is_stream: bool, route: Route
) -> None:
    gateway = make_gateway()
    gateway.wait_ready()
    marker = upstream.play([{**SAID, "hold_before_headers": True}, SAID])
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(route.post, gateway, route.ask(marker, stream=is_stream))
        wait_until(lambda: upstream.control.requests(marker), "the request is upstream")
        gateway.child().kill()
        answer = asking.result()
    text = route.read(answer.content).text if is_stream else route.said(answer.json())
    assert text == "".join(ANSWER)
    (line,) = gateway.events("turn_tried_again")
    assert line["error_code"] == "WORKER_UNAVAILABLE"


def test_the_second_turn_has_the_slot_of_the_first(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    """With one slot and no queue, a turn that gave its slot away could not be asked again."""
    gateway = make_gateway(WORKER_MAX_CONCURRENCY="1", WORKER_QUEUE_MAX="0")
    gateway.wait_ready()
    wrong = {"items": [{"type": "message", "deltas": ["no ", "J", "SON"]}]}
    right = {"items": [{"type": "message", "deltas": ["{", '"a"', ":1", "}"]}]}
    for script in ([wrong, right], [{"failure": "eof_before_headers"}, right]):
        marker = upstream.play(script)
        body = gateway.post(ask(marker, response_format={"type": "json_object"})).json()
        assert body["choices"][0]["message"]["content"] == '{"a":1}'
