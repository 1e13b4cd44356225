"""PROXY_USE_APP_SERVER=false in either dialect: what clients see, and whose processes end with whom."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from codex_cli_bin import bundled_codex_path

from tests.e2e.harness import Gateway, Upstream, ask, start_gateway, wait_until
from tests.e2e.in_flight import HELD, SILENT, child, failing, releasing, send
from tests.e2e.older_codex import proto_settings
from tests.e2e.routes import ROUTES, Route, on_each_route
from tests.e2e.turn_processes import await_nobody, codex_of, descriptors, files_of

pytestmark = pytest.mark.timeout(300)

SLOTS = 4
ROUNDS = 10
WORDS = ["Grü", "ße ", "✓"]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
DIALECTS = ["app-server", pytest.param("proto", marks=pytest.mark.system)]


@pytest.fixture(scope="module", params=DIALECTS)
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings that choose a dialect."""
    return {"PROXY_USE_APP_SERVER": "false"} if request.param == "app-server" else proto_settings()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, settings: dict[str, str]
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("dialect")
    running = start_gateway(folder, upstream, **settings, WORKER_MAX_CONCURRENCY=str(SLOTS))
    running.wait_ready()
    await_nobody(running)
    yield running
    assert running.stop() == 0
    assert [e for e in running.log() if e["level"] in {"error", "critical"}] == []


# What clients see


@on_each_route
def test_it_answers_whole_and_as_a_stream(
    gateway: Gateway, upstream: Upstream, route: Route
) -> None:
    marker = upstream.say(*WORDS, usage={"input_tokens": 9, "output_tokens": 5})
    whole = route.post(gateway, route.ask(marker)).json()
    assert route.said(whole) == "".join(WORDS)
    assert whole["codex_metadata"]["usage_estimated"] is False
    assert whole["codex_metadata"]["continued"] is False
    counts = [value for name, value in whole["usage"].items() if "details" not in name]
    assert sorted(counts) == [5, 9, 14]
    told = route.stream(gateway, route.ask(marker))
    assert (told.text, told.begun, told.is_whole) == ("".join(WORDS), 1, True)


def test_schemas_reasoning_and_choices(gateway: Gateway, upstream: Upstream) -> None:
    reasoning = {"type": "reasoning", "summary_deltas": ["hm"]}
    said = {"type": "message", "deltas": ['{"a":', "1}"]}
    marker = upstream.play({"items": [reasoning, said], "usage": {"input_tokens": 9}})
    form = {"name": "a", "strict": True, "schema": SCHEMA}
    request = ask(marker, n=2, response_format={"type": "json_schema", "json_schema": form})
    answer = gateway.post(request | {"reasoning_effort": "low"}).json()
    for choice in answer["choices"]:
        assert json.loads(choice["message"]["content"]) == {"a": 1}
        assert choice["message"]["reasoning_content"] == "hm"
    assert answer["usage"]["prompt_tokens"] == 9
    first, second = upstream.control.requests(marker)
    assert first["body"]["text"]["format"]["schema"]["required"] == ["a"]
    assert first["body"]["reasoning"] == {"effort": "low", "summary": "auto"}
    assert first["body"]["prompt_cache_key"] != second["body"]["prompt_cache_key"]


@on_each_route
def test_failures_are_those_of_the_shared_worker(
    gateway: Gateway, upstream: Upstream, route: Route
) -> None:
    codes = {
        "context_length_exceeded": (400, "context_length_exceeded"),
        "rate_limited": (429, "rate_limit_exceeded"),
        "bad_request": (400, None),
        "invalid_api_key": (503, "UPSTREAM_AUTH"),
    }
    for name, (status, code) in codes.items():
        answer = route.post(gateway, route.ask(upstream.play([{"failure": name}])))
        found = answer.json()["error"]["code"]
        assert (name, answer.status_code, found) == (name, status, code or found)
    cut = upstream.play(failing(WORDS))
    told = route.stream(gateway, route.ask(cut), releasing(upstream, cut, WORDS[0]))
    assert (told.text, told.code, told.is_whole) == ("".join(WORDS[:2]), "UPSTREAM_ERROR", False)
    assert route.post(gateway, route.ask(upstream.say("a"))).status_code == 200
    assert gateway.get("/readyz").status_code == 200


# Processes


def test_each_turn_has_a_process_of_its_own_and_no_more_than_slots(
    gateway: Gateway, upstream: Upstream
) -> None:
    held = upstream.play(HELD)
    with ThreadPoolExecutor(2 * SLOTS) as pool:
        answers = [pool.submit(gateway.post, ask(held)) for _ in range(2 * SLOTS)]
        upstream.control.wait("held", held, count=SLOTS)
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
        upstream.control.wait("held", begun)
        (victim,) = codex_of(gateway)
        second = pool.submit(route.post, gateway, route.ask(other))
        upstream.control.wait("held", other)
        wait_until(lambda: child(gateway)["running"] == 2, "both run")
        victim.send_signal(signal.SIGKILL)
        assert first.result().code == "WORKER_UNAVAILABLE"
        assert gateway.get("/readyz").status_code == 200
        upstream.control.release(other)
        assert route.said(second.result().json()) == "a"
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
    assert gateway.get("/internal/usage").ok  # now the store is open
    files, open_before = files_of(gateway), descriptors(gateway)
    for round_ in range(ROUNDS):
        leaving = [send(gateway.port, held, ROUTES[at % 2], stream=True) for at in range(10)]
        if round_ % 2:  # some leave in the start of their process, some in their turn
            wait_until(lambda: child(gateway)["running"], "one runs")
        for connection in leaving:
            connection.close()
    wait_until(lambda: child(gateway)["running"] == child(gateway)["waiting"] == 0, "all left")
    await_nobody(gateway)
    with ThreadPoolExecutor(SLOTS) as pool:
        codes = pool.map(lambda _: gateway.post(ask(marker)).status_code, range(10 * ROUNDS))
        assert set(codes) == {200}
    await_nobody(gateway)
    assert files_of(gateway) == files
    wait_until(lambda: descriptors(gateway) <= open_before + 2, "descriptors are given back")


def test_a_stop_ends_what_runs_and_leaves_no_process(
    make_gateway: Callable[..., Gateway], upstream: Upstream, settings: dict[str, str]
) -> None:
    gateway = make_gateway(**settings, WORKER_SHUTDOWN_GRACE_MS="200", WORKER_PER_REQUEST_SPARE="1")
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


# Whether one can be started


def test_a_broken_binary_is_degraded_and_back_once_it_is_mended(
    make_gateway: Callable[..., Gateway],
    upstream: Upstream,
    settings: dict[str, str],
    tmp_path: Path,
) -> None:
    binary, broken = tmp_path / "codex", tmp_path / "broken"
    real = settings.get("CODEX_BIN", bundled_codex_path())
    fails = f'case " $* " in *" app-server "*|*" proto "*) [ -e {broken} ] && exit 3;; esac'
    binary.write_text(f'#!/bin/sh\n{fails}\nexec {real} "$@"\n')
    binary.chmod(0o755)
    broken.touch()
    gateway = make_gateway(
        ready=False,
        **settings | {"CODEX_BIN": str(binary)},
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
    assert gateway.post(ask(upstream.say("a"))).status_code == 200
