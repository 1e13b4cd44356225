"""Who is let in, over HTTP: the limit of open streams, fairness between keys, and a queue that outlives the child."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.e2e.gateway_pool import ONE_SLOT, SECOND_KEY
from tests.e2e.harness import DEADLINE_S, KEY, Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import (
    HELD,
    SILENT,
    child,
    death_of_a_busy_child,
    lines,
    post,
    send,
    waiting,
)
from tests.e2e.raw_http import exchange, request_bytes
from tests.e2e.routes import Route, on_each_route
from tests.e2e.scrape import scrape, total


def is_at_rest(gateway: Gateway) -> bool:
    now = child(gateway)
    return (now["running"], now["waiting"]) == (0, 0)


def overflows(gateway: Gateway) -> tuple[float, float]:
    """Return how often the line for a turn, and the limit of open streams, had no room."""
    samples = scrape(gateway)
    admission, streams = (
        total(samples, "codex_overflows_total", queue=queue) for queue in ("admission", "streams")
    )
    return admission, streams


class Streams:
    """Streams that have begun to speak and are held there, each with a marker of its own."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self.gateway, self.upstream = gateway, upstream
        self.open: list[tuple[str, requests.Response]] = []

    def begin(self, **more: Any) -> None:
        marker = self.upstream.play(HELD)
        answer = self.gateway.post(ask(marker, stream=True, **more), stream=True)
        assert answer.status_code == 200, answer.text
        self.upstream.control.wait("held", marker, count=more.get("n", 1))
        self.open.append((marker, answer))

    def end(self) -> None:
        marker, answer = self.open.pop(0)
        self.upstream.control.release(marker)
        assert answer.text.endswith("data: [DONE]\n\n")
        request_id = answer.headers["X-Request-Id"]
        ended = lambda: [n for n in lines(self.gateway) if n["request_id"] == request_id]  # noqa: E731
        wait_until(ended, "it is over")


# Open streams


def test_the_limit_of_open_streams_is_exact(lend_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = lend_gateway(PROXY_SSE_MAX_CONCURRENCY="3")
    admission_full, streams_full = overflows(gateway)
    streams = Streams(gateway, upstream)
    for _ in range(3):
        streams.begin()
    marker = upstream.say("one more")
    for _ in range(2):
        refused = gateway.post(ask(marker, stream=True))
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["type"]) == (
            429,
            "WORKER_BUSY",
            "rate_limit_error",
        )
        assert "3 streams open" in error["message"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["x-should-retry"] == "true"
    assert upstream.control.requests(marker) == []  # no turn was begun
    assert child(gateway)["running"] == 3
    assert gateway.post(ask(upstream.say("x"))).status_code == 200  # who wants no stream is served
    streams.end()
    streams.begin()
    assert gateway.post(ask(marker, stream=True)).status_code == 429
    while streams.open:
        streams.end()
    assert gateway.post(ask(marker, stream=True)).status_code == 200
    wait_until(lambda: is_at_rest(gateway), "no turn runs")
    assert overflows(gateway) == (admission_full, streams_full + 3)
    full = [line.get("full_queue") for line in lines(gateway) if line["status"] == 429]
    assert full == ["streams"] * 3


def test_a_stream_of_several_choices_is_one(lend_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = lend_gateway(PROXY_SSE_MAX_CONCURRENCY="3")
    streams = Streams(gateway, upstream)
    streams.begin(n=3)
    streams.begin()
    streams.begin()
    assert gateway.post(ask(upstream.say("x"), stream=True)).status_code == 429
    streams.end()
    streams.begin()
    while streams.open:
        streams.end()


@on_each_route
def test_no_way_to_end_keeps_a_place(lend_gateway: Any, upstream: Upstream, route: Route) -> None:
    gateway: Gateway = lend_gateway(PROXY_SSE_MAX_CONCURRENCY="3")
    failing = upstream.play({"failure": "rate_limited"})
    for _ in range(3):
        assert exchange(gateway, request_bytes("HEAD", route.path))[0] == 405
        assert route.post(gateway, route.ask(failing, stream=True)).status_code == 429
        wrong = route.ask(failing, stream=True, model="no-such-model")
        assert route.post(gateway, wrong).status_code == 404
        for script in (HELD, SILENT):
            marker = upstream.play(script)
            before = len(lines(gateway, route))
            connection = send(gateway.port, marker, route, stream=True)
            upstream.control.wait("held", marker)
            connection.close()
            wait_until(lambda before=before: len(lines(gateway, route)) > before, "its line")  # type: ignore[misc]
    wait_until(lambda: is_at_rest(gateway), "no turn runs")
    streams = Streams(gateway, upstream)
    for _ in range(3):
        streams.begin()
    assert route.post(gateway, route.ask(upstream.say("x"), stream=True)).status_code == 429
    while streams.open:
        streams.end()


def test_a_stream_that_waits_for_a_turn_keeps_no_other_key_out(
    lend_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = lend_gateway(**ONE_SLOT)
    streams = Streams(gateway, upstream)
    streams.begin()
    with ThreadPoolExecutor(6) as pool:
        flood = [pool.submit(post, gateway, KEY, upstream.say("a"), stream=True) for _ in range(5)]
        waiting(gateway, 5)
        single = pool.submit(post, gateway, SECOND_KEY, upstream.say("b"), stream=True)
        waiting(gateway, 6)
        streams.end()
        assert single.result().status_code == 200
        assert {answer.result().status_code for answer in flood} == {200}


# Fairness


def test_a_single_request_of_another_key_is_soon_served(
    lend_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = lend_gateway(**ONE_SLOT)
    first, flood, single = upstream.play(HELD), upstream.say("a"), upstream.say("b")
    with ThreadPoolExecutor(22) as pool:
        running = pool.submit(post, gateway, KEY, first)
        upstream.control.wait("held", first)
        others = [pool.submit(post, gateway, KEY, flood) for _ in range(20)]
        waiting(gateway, 20)
        one = pool.submit(post, gateway, SECOND_KEY, single)
        waiting(gateway, 21)
        upstream.control.release(first)
        answers = [each.result() for each in (running, one, *others)]
    assert {answer.status_code for answer in answers} == {200}
    (mine,) = upstream.control.requests(single)
    earlier = [r for r in upstream.control.requests(flood) if r["sequence"] < mine["sequence"]]
    assert len(earlier) <= 1
    wait_until(lambda: is_at_rest(gateway), "no turn runs")


def test_a_full_queue_makes_room_for_another_key(lend_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = lend_gateway(**ONE_SLOT, WORKER_QUEUE_MAX="5")
    admission_full, streams_full = overflows(gateway)
    first, flood, single = upstream.play(HELD), upstream.say("a"), upstream.say("b")
    with ThreadPoolExecutor(7) as pool:
        running = pool.submit(post, gateway, KEY, first)
        upstream.control.wait("held", first)
        others = [pool.submit(post, gateway, KEY, flood) for _ in range(5)]
        waiting(gateway, 5)
        one_more = post(gateway, KEY, flood)
        one = pool.submit(post, gateway, SECOND_KEY, single)
        (gave_way,) = wait_until(lambda: [f for f in others if f.done()], "one gives way")
        upstream.control.release(first)
        assert [running.result().status_code, one.result().status_code] == [200, 200]
        assert sorted(other.result().status_code for other in others) == [200] * 4 + [429]
    for refused, words in ((one_more, "queue is full"), (gave_way.result(), "another key")):
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "WORKER_BUSY"
        assert words in refused.json()["error"]["message"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
    wait_until(lambda: is_at_rest(gateway), "no turn runs")
    assert overflows(gateway) == (admission_full + 2, streams_full)


# Time


def test_nobody_waits_longer_than_the_request_may_take(
    lend_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = lend_gateway(**ONE_SLOT, PROXY_TIMEOUT_MS="1000")
    marker = upstream.play(SILENT)
    with ThreadPoolExecutor(6) as pool:
        codes = [
            answer.json()["error"]["code"]
            for answer in pool.map(lambda _: post(gateway, KEY, marker), range(6))
        ]
    # One turn fits into the second, and maybe one begins at its end.
    assert set(codes) == {"WORKER_BUSY", "WORKER_TIMEOUT"}
    assert codes.count("WORKER_BUSY") >= 4


@pytest.mark.app_server  # there is one child that backs off
def test_while_the_child_backs_off_the_client_is_told_for_how_long(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(
        WORKER_QUEUE_TIMEOUT_MS="50",
        WORKER_BACKOFF_INITIAL_MS="30000",
        WORKER_BACKOFF_MAX_MS="30000",
    )
    gateway.child().kill()
    wait_until(lambda: child(gateway)["state"] == "backing_off", "the child is gone")
    refused = gateway.post(ask("nothing"))
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "WORKER_UNAVAILABLE"
    assert 5 <= int(refused.headers["Retry-After"]) <= 30


# A child that dies


@pytest.mark.app_server  # those who wait have no process yet
def test_who_waits_does_not_notice_that_the_child_dies(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(**ONE_SLOT)
    first = upstream.play([HELD, {"items": HELD["items"]}])
    markers = [upstream.say(f"<{number}>") for number in range(20)]
    with ThreadPoolExecutor(21) as pool:
        running = pool.submit(post, gateway, KEY, first)
        upstream.control.wait("held", first)
        others = [pool.submit(post, gateway, KEY, marker) for marker in markers]
        waiting(gateway, 20)
        gateway.child().kill()
        assert running.result().status_code == 200  # it had shown nothing, and was run once more
        texts = [o.result().json()["choices"][0]["message"]["content"] for o in others]
    assert texts == [f"<{number}>" for number in range(20)]
    wait_until(lambda: is_at_rest(gateway), "no turn runs")
    assert child(gateway)["generation"] == 2


@pytest.mark.app_server  # all turns die with the one child
def test_a_child_that_dies_under_load_costs_only_what_had_begun_to_speak(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(
        WORKER_MAX_CONCURRENCY="32", WORKER_QUEUE_TIMEOUT_MS="30000", PROXY_SSE_KEEPALIVE_MS="60000"
    )
    killed, ready, readers, queued = death_of_a_busy_child(gateway, upstream)
    for reader in readers:
        reader.join(DEADLINE_S)
        ((at, error),) = reader.errors()
        assert (error["code"], error["retryable"]) == ("WORKER_UNAVAILABLE", True)
        assert reader.frames[-1][1] == "[DONE]"
        assert at - killed < 10
    assert ready - killed < 15
    for number, answer in enumerate(queued):
        body = answer.result()
        assert body.status_code == 200
        assert "later" in body.text
        assert number % 2 or body.text.endswith("data: [DONE]\n\n")
    wait_until(lambda: is_at_rest(gateway), "no turn runs")
    assert total(scrape(gateway), "codex_streams_active") == 0
    assert gateway.post(ask(upstream.say("x"))).status_code == 200
