"""PROXY_USE_APP_SERVER=false: a codex process for each turn behind the same HTTP surface."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from codex_cli_bin import bundled_codex_path

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
from tests.e2e.in_flight import HELD, SILENT, Reader, child, send
from tests.e2e.reloading import Load, Site, hup, wait_reloads
from tests.e2e.routes import ROUTES, Route, on_each_route
from tests.e2e.scrape import scrape, total

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


def codex_of(gateway: Gateway) -> list[psutil.Process]:
    """Every codex process, one that nobody has waited for included."""
    return [one for one in gateway.master().children(recursive=True) if one.name() == "codex"]


def await_nobody(gateway: Gateway) -> None:
    wait_until(lambda: not codex_of(gateway), "no codex process is left")
    wait_until(lambda: child(gateway)["pids"] == [], "none is counted")


def files_of(gateway: Gateway) -> list[str]:
    found = (path.relative_to(gateway.home) for path in gateway.home.rglob("*"))
    return sorted(str(path) for path in found if "trace" not in str(path))


def descriptors(gateway: Gateway) -> int:
    return sum(worker.num_fds() for worker in gateway.workers())


# What clients see


@on_each_route
def test_it_answers_whole_and_as_a_stream(
    gateway: Gateway, upstream: Upstream, route: Route
) -> None:
    marker = upstream.say(*WORDS)
    whole = route.post(gateway, route.ask(marker)).json()
    assert route.said(whole) == "".join(WORDS)
    assert whole["codex_metadata"]["continued"] is False
    told = route.stream(gateway, route.ask(marker))
    assert (told.text, told.begun, told.is_whole) == ("".join(WORDS), 1, True)


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


def test_images_schemas_reasoning_and_choices(gateway: Gateway, upstream: Upstream) -> None:
    reasoning = {"type": "reasoning", "summary_deltas": ["hm"]}
    marker = upstream.play(
        {
            "items": [reasoning, {"type": "message", "deltas": ['{"a":', "1}"]}],
            "usage": {"input_tokens": 9},
        }
    )
    parts = [
        {"type": "text", "text": f"[{marker}]"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    form = {
        "type": "json_schema",
        "json_schema": {
            "name": "a",
            "strict": True,
            "schema": {**SCHEMA, "additionalProperties": False},
        },
    }
    answer = gateway.post(
        ask(marker, n=2, response_format=form) | {"messages": [{"role": "user", "content": parts}]}
    ).json()
    for choice in answer["choices"]:
        assert json.loads(choice["message"]["content"]) == {"a": 1}
        assert choice["message"]["reasoning_content"] == "hm"
    assert answer["usage"]["prompt_tokens"] == 9
    assert answer["codex_metadata"]["usage_estimated"] is False
    first, second = upstream.control.requests(marker)
    assert first["body"]["input"][0]["content"][1]["image_url"] == PIXEL
    assert first["body"]["text"]["format"]["schema"]["required"] == ["a"]
    assert first["body"]["prompt_cache_key"] != second["body"]["prompt_cache_key"]


@on_each_route
def test_failures_are_those_of_the_shared_worker(
    gateway: Gateway, upstream: Upstream, route: Route
) -> None:
    before = route.post(gateway, route.ask(upstream.play([{"failure": "context_length_exceeded"}])))
    assert (before.status_code, before.json()["error"]["code"]) == (400, "context_length_exceeded")
    cut = {
        "items": [{"type": "message", "deltas": WORDS}],
        "failure": {"name": "cut_mid_stream", "after_deltas": 2},
        "interval_ms": 500,
    }
    told = route.stream(gateway, route.ask(upstream.play([cut])))
    assert (told.code, told.is_whole) == ("UPSTREAM_ERROR", False)
    assert gateway.get("/readyz").status_code == 200


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
    traces = [json.loads(path.read_text()) for path in gateway.home.glob("trace-buffer/*.json")]
    assert {trace["backend"] for trace in traces} == {"per_request"}
    assert ids <= {trace["request_id"] for trace in traces}
    samples = scrape(gateway)
    for name in (
        "codex_turns_total",
        "codex_worker_latency_ms_count",
        "codex_queue_wait_ms_count",
    ):
        assert total(samples, name, backend="per_request") == total(samples, name) > 0


# Processes


def test_each_turn_has_a_process_of_its_own_and_no_more_than_slots(
    gateway: Gateway, upstream: Upstream
) -> None:
    held = upstream.play(HELD)
    with ThreadPoolExecutor(2 * SLOTS) as pool:
        answers = [pool.submit(gateway.post, ask(held)) for _ in range(2 * SLOTS)]
        upstream.control.wait("headers_sent", held, count=SLOTS)
        state = wait_until(
            lambda: (now := child(gateway))["waiting"] == SLOTS and now, "the others wait"
        )
        assert len(state["pids"]) == state["running"] == SLOTS
        assert len(codex_of(gateway)) == SLOTS
        metrics = gateway.get("/metrics").text
        assert f'codex_worker_processes{{backend="per_request"}} {SLOTS}.0' in metrics
        upstream.control.script(held, {"items": HELD["items"]})
        upstream.control.release(held)
        assert [answer.result().status_code for answer in answers] == [200] * 2 * SLOTS
    await_nobody(gateway)


@on_each_route
def test_who_is_killed_fails_alone(gateway: Gateway, upstream: Upstream, route: Route) -> None:
    """After the first words nothing can be tried again, so that only this one request fails."""
    begun, other = upstream.play({**HELD, "hold_after": 1}), upstream.play(HELD)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(route.stream, gateway, route.ask(begun))
        upstream.control.wait("headers_sent", begun)
        (victim,) = codex_of(gateway)
        second = pool.submit(route.post, gateway, route.ask(other))
        upstream.control.wait("headers_sent", other)
        wait_until(lambda: child(gateway)["running"] == 2, "both run")
        victim.send_signal(signal.SIGKILL)
        told = first.result()
        assert told.code == "WORKER_UNAVAILABLE"
        assert gateway.get("/readyz").status_code == 200
        upstream.control.release(other)
        assert route.said(second.result().json()) == "a"
    await_nobody(gateway)


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


def test_who_is_killed_before_a_word_is_tried_once_more(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.play([SILENT, {"items": [{"type": "message", "deltas": WORDS}]}])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(gateway.post, ask(marker))
        upstream.control.wait("arrived", marker)
        codex_of(gateway)[0].send_signal(signal.SIGKILL)
        assert answer.result().status_code == 200
    assert len(upstream.control.requests(marker)) == 2
    upstream.control.release(marker)


def test_a_hundred_that_leave_and_a_hundred_that_stay_leave_nothing_behind(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker, held = upstream.say("a"), upstream.play(HELD)
    gateway.post(ask(marker))
    await_nobody(gateway)
    files, open_before = files_of(gateway), descriptors(gateway)
    for round_ in range(10):
        leaving = [send(gateway.port, held, ROUTES[at % 2], stream=True) for at in range(10)]
        if round_ % 2:  # some leave in the start of their process, some in their turn
            wait_until(lambda: child(gateway)["running"], "one runs")
        for connection in leaving:
            connection.close()
    wait_until(lambda: child(gateway)["running"] == child(gateway)["waiting"] == 0, "all left")
    await_nobody(gateway)
    with ThreadPoolExecutor(SLOTS) as pool:
        codes = pool.map(lambda _: gateway.post(ask(marker)).status_code, range(100))
        assert set(codes) == {200}
    await_nobody(gateway)
    assert files_of(gateway) == files
    wait_until(lambda: descriptors(gateway) <= open_before + 2, "descriptors are given back")


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
        upstream.control.wait("headers_sent", begun)
        (victim,) = {turn.pid for turn in codex_of(gateway)} & set(child(gateway)["pids"])
        second = pool.submit(gateway.post, ask(other))
        upstream.control.wait("headers_sent", other)
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


def test_a_stop_ends_what_runs_and_leaves_no_process(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(
        PROXY_USE_APP_SERVER="false",
        WORKER_SHUTDOWN_GRACE_MS="200",
        WORKER_PER_REQUEST_SPARE="1",
    )
    wait_until(lambda: child(gateway)["spare"] == 1, "one is ahead")
    marker = upstream.play(HELD)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(gateway.post, ask(marker))
        upstream.control.wait("headers_sent", marker)
        wait_until(lambda: len(codex_of(gateway)) == 2, "another one is ahead")
        family = codex_of(gateway)
        assert gateway.stop() == 0
        assert answer.result().json()["error"]["code"] == "DRAINING"
    assert not any(map(psutil.Process.is_running, family))
    assert list((gateway.home / "gateway" / "turns").iterdir()) == []


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


# Whether one can be started


def test_a_broken_binary_is_degraded_and_back_once_it_is_mended(
    make_gateway: Callable[..., Gateway], upstream: Upstream, tmp_path: Path
) -> None:
    site_binary = tmp_path / "codex"
    broken = tmp_path / "broken"
    site_binary.write_text(
        f'#!/bin/sh\n[ "$1" = app-server ] && [ -e {broken} ] && exit 3\nexec {bundled_codex_path()} "$@"\n'
    )
    site_binary.chmod(0o755)
    broken.touch()
    gateway = make_gateway(
        ready=False,
        PROXY_USE_APP_SERVER="false",
        CODEX_BIN=str(site_binary),
        WORKER_BACKOFF_INITIAL_MS="10",
        WORKER_BACKOFF_MAX_MS="20",
        WORKER_QUEUE_TIMEOUT_MS="5000",
    )
    wait_until(lambda: gateway.get("/readyz").json().get("reason") == "degraded", "it is degraded")
    assert gateway.get("/healthz").json()["status"] == "degraded"
    assert child(gateway)["last_exit"]["reason"] == "handshake_failed"
    assert len(gateway.events("child_degraded")) == 1
    refused = gateway.post(ask("x"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "WORKER_UNAVAILABLE")
    broken.unlink()
    gateway.wait_ready()
    assert gateway.post(ask(upstream.say("a"))).status_code == 200
    broken.touch()
    assert gateway.post(ask(upstream.say("a"))).status_code == 503
    assert gateway.get("/readyz").status_code == 503
    broken.unlink()
    gateway.wait_ready()


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
