"""The gateway's child over WebSockets to the upstream: when it uses them, and what it does without."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.harness import Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import child
from tests.e2e.scrape import scrape, total
from tests.e2e.talk import TOOL, Talk, call, said


def await_warm(gateway: Gateway) -> None:
    wait_until(lambda: total(scrape(gateway), "codex_warm_threads"), "a warm thread")


def await_probe(gateway: Gateway) -> bool:
    """Wait until the gateway knows whether the upstream speaks it."""
    (found,) = wait_until(lambda: gateway.events("upstream_websockets"), "an answer")
    return bool(found["is_spoken"])


def asked_over(upstream: Upstream, marker: str) -> list[str]:
    """How each request with this marker came: GET is a WebSocket."""
    return [record["method"] for record in upstream.control.requests(marker)]


@pytest.fixture(params=[404, 426])
def refusing(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    """An upstream that speaks HTTP alone."""
    running = Upstream("--refuse-websockets", str(request.param))
    yield running
    assert running.control.state()["errors"] == 0
    running.close()


def test_an_answer_that_came_over_a_websocket_is_the_same(
    upstream: Upstream, lend_gateway: Callable[..., Gateway]
) -> None:
    gateway = lend_gateway(CODEX_UPSTREAM_WEBSOCKETS="true")
    marker = upstream.say("Grü", "ße ✓")
    for _ in range(2):
        answer = gateway.post(ask(marker)).json()
        assert answer["choices"][0]["message"]["content"] == "Grüße ✓"
    records = upstream.control.requests(marker)
    assert [record["method"] for record in records] == ["GET", "GET"]
    assert all(record["outcome"] == "completed" for record in records)
    assert [item["role"] for item in records[0]["body"]["input"]] == ["user"]


def test_that_the_upstream_speaks_it_is_found_out(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(CODEX_UPSTREAM_WEBSOCKETS="auto")
    assert await_probe(gateway)
    await_warm(gateway)
    marker = upstream.say("a")
    # A thread that was started before anybody asked for anything cost the upstream nothing; the next one is ready.
    gateway.post(ask(marker))
    wait_until(lambda: total(scrape(gateway), "codex_warm_threads"), "another one")
    gateway.post(ask(marker))
    assert asked_over(upstream, marker) == ["POST", "GET"]
    looping = upstream.say("b")
    gateway.post(ask(looping, tools=[TOOL]))
    assert asked_over(upstream, looping) == ["GET"]


def test_a_thread_that_begins_without_tools_and_warmth_does_not_wait_for_it(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(CODEX_UPSTREAM_WEBSOCKETS="auto", WORKER_WARM_THREADS="0")
    assert await_probe(gateway)
    marker = upstream.say("a")
    gateway.post(ask(marker))
    assert asked_over(upstream, marker) == ["POST"]


def test_an_upstream_without_it_is_asked_once(
    make_gateway: Callable[..., Gateway], refusing: Upstream
) -> None:
    gateway = make_gateway(CODEX_UPSTREAM_URL=refusing.url, CODEX_UPSTREAM_WEBSOCKETS="auto")
    assert not await_probe(gateway)
    marker = refusing.say("a")
    for tools in ([], [TOOL], [TOOL]):
        await_warm(gateway)
        answer = gateway.post(ask(marker, tools=tools)).json()
        assert answer["choices"][0]["message"]["content"] == "a"
    assert asked_over(refusing, marker) == ["POST"] * 3
    handshakes = [it for it in refusing.control.requests() if it["method"] == "GET"]
    assert len(handshakes) == 1


def test_codex_does_without_it_where_it_is_refused(
    make_gateway: Callable[..., Gateway], refusing: Upstream
) -> None:
    gateway = make_gateway(CODEX_UPSTREAM_URL=refusing.url, CODEX_UPSTREAM_WEBSOCKETS="true")
    marker = refusing.say("a", "b")
    answer = gateway.post(ask(marker)).json()
    assert answer["choices"][0]["message"]["content"] == "ab"
    assert asked_over(refusing, marker) == ["POST"]


def test_a_round_brings_only_what_is_new(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(CODEX_UPSTREAM_WEBSOCKETS="true")
    talk = Talk(gateway, upstream, *[[call(f"c{number}")] for number in range(6)], [said("end")])
    talk.options["tools"] = [TOOL]
    received = []
    for _ in range(6):
        before = upstream.control.state()["bytes_received"]
        talk.ask()
        received.append(upstream.control.state()["bytes_received"] - before)
        talk.messages[-1]["content"] = "x" * 10_000
    assert max(received[2:]) < min(received[2:]) + 500
    assert len(str(talk.sent()[-1])) > 5 * 10_000
    assert talk.sessions() == 1


def test_a_connection_that_was_idle_for_long_costs_no_answer(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(CODEX_UPSTREAM_WEBSOCKETS="true")
    await_warm(gateway)
    assert upstream.control.hang_up() >= 1
    talk = Talk(gateway, upstream, [said("a", "b")])
    assert talk.ask()["content"] == "ab"
    assert upstream.control.hang_up() >= 1
    assert talk.continued()
    assert talk.messages[-1]["content"] == "ab"
    assert len(talk.bodies()) == 2


def test_one_that_breaks_says_nothing_twice_and_others_do_without(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(CODEX_UPSTREAM_WEBSOCKETS="auto", WORKER_WARM_THREADS="0")
    assert await_probe(gateway)
    cut = {"name": "cut_mid_stream", "after_deltas": 2}
    whole = {"items": [said("a", "b", "c")]}
    marker = upstream.play([whole | {"failure": cut}, whole])
    answer = gateway.post(ask(marker, tools=[TOOL]))
    assert answer.status_code in {200, 502}
    if answer.status_code == 200:
        assert answer.json()["choices"][0]["message"]["content"] == "abc"
    assert asked_over(upstream, marker)[0] == "GET"
    wait_until(lambda: gateway.events("upstream_websocket_failed"), "a line in the log")
    other = upstream.say("d")
    gateway.post(ask(other, tools=[TOOL]))
    assert asked_over(upstream, other) == ["POST"]


def test_those_that_were_started_ahead_do_without_it_then_too(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(
        CODEX_UPSTREAM_WEBSOCKETS="auto",
        WORKER_WARM_THREADS="4",
        WORKER_PROBE_TIMEOUT_MS="60000",
    )
    assert await_probe(gateway)

    def ask_at_once(count: int = 4, *, before_another_starts: bool = False) -> list[str]:
        markers = [upstream.say("a") for _ in range(count)]
        codex = gateway.child()
        with ThreadPoolExecutor(count) as pool:
            if before_another_starts:
                codex.send_signal(signal.SIGSTOP)
            asking = [pool.submit(gateway.post, ask(marker)) for marker in markers]
            if before_another_starts:
                wait_until(lambda: child(gateway)["running"] == count, "all have asked")
                codex.send_signal(signal.SIGCONT)
        assert [asked.result().status_code for asked in asking] == [200] * count
        return [method for marker in markers for method in asked_over(upstream, marker)]

    def await_all_warm() -> None:
        wait_until(lambda: total(scrape(gateway), "codex_warm_threads") == 4, "all are warm")

    ask_at_once(before_another_starts=True)  # so many are worth to wait from now on
    await_all_warm()
    ask_at_once()  # some may have been started before anybody had asked
    await_all_warm()
    assert "GET" in ask_at_once()
    await_all_warm()
    cut = {"name": "cut_mid_stream", "after_deltas": 2}
    marker = upstream.play([{"items": [said("a", "b", "c")], "failure": cut}])
    gateway.post(ask(marker))
    assert asked_over(upstream, marker)[0] == "GET"
    wait_until(lambda: gateway.events("upstream_websocket_failed"), "a line in the log")
    await_all_warm()
    assert ask_at_once() == ["POST"] * 4
