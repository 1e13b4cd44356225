"""PROXY_USE_APP_SERVER=false: an app-server for each turn. What either dialect does is in `test_dialects.py`."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e import reloading
from tests.e2e.harness import (
    DEADLINE_S,
    PIXEL,
    Gateway,
    Upstream,
    ask,
    end,
    start_gateway,
    wait_until,
)
from tests.e2e.in_flight import HELD, Reader, child
from tests.e2e.reloading import Load, Site, hup, wait_reloads
from tests.e2e.routes import ROUTES
from tests.e2e.scrape import scrape, total
from tests.e2e.turn_processes import await_nobody, codex_of

SLOTS = 4
WORDS = ["Grü", "ße ", "✓"]
CALL = {
    "type": "function_call",
    "name": "get_weather",
    "arguments": '{"city":"B"}',
    "call_id": "call_A",
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("per-request")
    running = start_gateway(
        folder, upstream, PROXY_USE_APP_SERVER="false", WORKER_MAX_CONCURRENCY=str(SLOTS)
    )
    running.wait_ready()
    await_nobody(running)
    yield running
    assert running.stop() == 0
    assert [e for e in running.log() if e["level"] in {"error", "critical"}] == []


# What clients see


def test_a_loop_over_tools_is_one_process_a_round(gateway: Gateway, upstream: Upstream) -> None:
    function = {"name": "get_weather", "description": "d", "parameters": SCHEMA}
    tools = [{"type": "function", "function": function}]
    said = {"items": [{"type": "message", "deltas": ["sunny"]}]}
    marker = upstream.play([{"items": [CALL]}, said])
    request = ask(marker, tools=tools)
    message = gateway.post(request).json()["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert (call["id"], call["function"]["arguments"]) == ("call_A", '{"city":"B"}')
    result = {"role": "tool", "tool_call_id": "call_A", "content": "21 °C"}
    answer = gateway.post(request | {"messages": [*request["messages"], message, result]}).json()
    assert answer["choices"][0]["message"]["content"] == "sunny"
    assert answer["codex_metadata"]["continued"] is False
    _, last = upstream.control.requests(marker)
    assert [item["type"] for item in last["body"]["input"]] == [
        "message",
        "function_call",
        "function_call_output",
    ]


def test_an_image_reaches_the_upstream(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("a")
    parts = [
        {"type": "text", "text": f"[{marker}]"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    assert gateway.post(ask(marker, messages=[{"role": "user", "content": parts}])).ok
    (asked,) = upstream.control.requests(marker)
    assert asked["body"]["input"][0]["content"][1]["image_url"] == PIXEL


def test_log_trace_and_metrics_say_which_backend_it_was(
    gateway: Gateway, upstream: Upstream
) -> None:
    """Also where it gave no answer; and what clients are told says nothing of it."""
    said = gateway.post(ask(upstream.say("a")))
    refused = gateway.post(ask(upstream.play([{"failure": "context_length_exceeded"}])))
    assert "per_request" not in said.text + refused.text
    ids = {answer.headers["X-Request-Id"] for answer in (said, refused)}
    lines = wait_until(
        lambda: (
            len(found := [e for e in gateway.events("request") if e["request_id"] in ids]) == 2
            and found
        ),
        "both lines are written",
    )
    assert [line["backend"] for line in lines] == ["per_request"] * 2
    await_nobody(gateway)
    wait_until(
        lambda: ids <= {trace["request_id"] for trace in traces_of(gateway)}, "both are traced"
    )
    assert {trace["backend"] for trace in traces_of(gateway)} == {"per_request"}
    samples = scrape(gateway)
    for name in (
        "codex_turns_total",
        "codex_worker_latency_ms_count",
        "codex_queue_wait_ms_count",
    ):
        assert total(samples, name, backend="per_request") == total(samples, name) > 0


def traces_of(gateway: Gateway) -> list[dict[str, Any]]:
    """The traces that are written by now."""
    return [json.loads(path.read_text()) for path in gateway.home.glob("trace-buffer/*.json")]


# Processes


def test_whichever_is_killed_fails_alone(gateway: Gateway, upstream: Upstream) -> None:
    """One after another, in no order that the gateway knows, until one is left."""
    begun = upstream.play({"items": [{"type": "message", "deltas": WORDS}], "hold_after": 1})
    streams = [Reader(gateway.post(ask(begun, stream=True), stream=True)) for _ in range(SLOTS)]
    wait_until(lambda: all(len(stream.frames) == 2 for stream in streams), "all have spoken")
    victims = sorted(codex_of(gateway), key=lambda process: hash((SLOTS, process.pid)))
    assert len(victims) == SLOTS
    for dead, victim in enumerate(victims[1:], 1):
        victim.send_signal(signal.SIGKILL)
        wait_until(lambda: sum(map(bool, map(Reader.errors, streams))) == dead, "one more fails")  # noqa: B023
        assert gateway.get("/readyz").status_code == 200
    upstream.control.release(begun)
    for stream in streams:
        stream.join(DEADLINE_S)
    (left,) = (stream for stream in streams if not stream.errors())
    assert left.frames[-1][1] == "[DONE]"
    codes = [error["code"] for stream in streams for _, error in stream.errors()]
    assert codes == ["WORKER_UNAVAILABLE"] * (SLOTS - 1)
    await_nobody(gateway)


def test_who_hangs_or_grows_is_ended_with_its_own_turn(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(
        PROXY_USE_APP_SERVER="false",
        WORKER_PROBE_INTERVAL_MS="100",
        WORKER_PROBE_TIMEOUT_MS="300",
        WORKER_RPC_TIMEOUT_MS="1000",
    )
    other, begun = upstream.play(HELD), upstream.play({**HELD, "hold_after": 1})
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ROUTES[0].stream, gateway, ask(begun))
        upstream.control.wait("held", begun)
        (victim,) = {turn.pid for turn in codex_of(gateway)} & set(child(gateway)["pids"])
        second = pool.submit(gateway.post, ask(other))
        upstream.control.wait("held", other)
        psutil.Process(victim).send_signal(signal.SIGSTOP)
        assert first.result().code == "WORKER_UNAVAILABLE"
        upstream.control.release(other)
        assert second.result().status_code == 200
    (ended,) = gateway.events("child_recycled")
    assert ended["reason"] in {"hung", "deaf"}
    await_nobody(gateway)


def test_who_outgrows_its_memory_is_told_so(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(
        PROXY_USE_APP_SERVER="false",
        WORKER_PROBE_INTERVAL_MS="100",
        WORKER_MEMORY_LIMIT_BYTES=str(1 << 26),  # less than any process has
    )
    answer = gateway.post(ask(upstream.play(HELD)))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "WORKER_UNAVAILABLE")
    assert "memory" in error["message"]
    reasons = {entry["reason"] for entry in gateway.events("child_recycled")}
    assert reasons <= {"memory", "memory_twice"}
    assert reasons
    await_nobody(gateway)


def test_a_killed_worker_takes_its_processes_along_and_the_next_one_clears_up(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(PROXY_USE_APP_SERVER="false", WORKER_PER_REQUEST_SPARE="1")
    wait_until(lambda: child(gateway)["spare"] == 1, "one is ahead")
    (worker,), family = gateway.workers(), codex_of(gateway)
    (left,) = (gateway.home / "gateway" / "turns").iterdir()
    worker.kill()
    psutil.wait_procs(family, timeout=10)
    assert not any(map(psutil.Process.is_running, family))
    wait_until(lambda: child(gateway)["spare"] == 1, "the next worker serves")
    assert not left.exists()


def test_what_is_ahead_of_demand_is_used_and_replaced(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(PROXY_USE_APP_SERVER="false", WORKER_PER_REQUEST_SPARE="2")
    wait_until(lambda: child(gateway)["spare"] == 2, "two are ahead")
    first = set(child(gateway)["pids"])
    for dead in first:
        psutil.Process(dead).send_signal(signal.SIGKILL)
    assert gateway.post(ask(upstream.say("a"))).status_code == 200
    state = wait_until(lambda: (now := child(gateway))["spare"] == 2 and now, "two are ahead anew")
    assert not first & set(state["pids"])
    assert gateway.get("/readyz").status_code == 200


# The flag


def test_the_flag_is_flipped_under_load_both_ways(tmp_path: Path, upstream: Upstream) -> None:
    site = Site(tmp_path / "site", upstream)
    gateway = site.start()
    try:
        gateway.wait_ready()
        load = Load(gateway, upstream)
        load.probe()
        marker = upstream.say("a")
        with ThreadPoolExecutor(2) as pool:
            for count, (flag, backend) in enumerate(
                [("false", "per_request"), ("true", "app_server")], 1
            ):
                load.streams(4, 3)
                site.set(PROXY_USE_APP_SERVER=flag)
                hup(gateway)
                answers: list[Future[Any]] = []
                while not answers or reloading.events(gateway, "reload_done")[count - 1 :] == []:
                    answers.append(pool.submit(gateway.post, ask(marker)))
                    answers[-1].result()
                wait_reloads(gateway, count)
                assert {answer.result().status_code for answer in answers} == {200}
                # The worker that retires may still answer what has reached it.
                wait_until(lambda: child(gateway)["backend"] == backend, "it answers")  # noqa: B023
                assert gateway.post(ask(marker)).status_code == 200
        assert load.whole() == 8
        load.stop_probing()
        assert load.errors == []
        wait_until(lambda: len(gateway.workers()) == 1, "the old workers are gone")
        wait_until(lambda: len(codex_of(gateway)) == 1, "and their processes")
    finally:
        end(gateway)
