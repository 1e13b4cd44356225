"""TERM and Ctrl-C: what runs is finished or ended properly, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.harness import DEADLINE_S, IS_SHARED, Gateway, Upstream, ask, wait_until
from tests.e2e.raw_http import stream_frames
from tests.e2e.reloading import Site, processes_below
from tests.e2e.routes import Route, on_each_route


def held(upstream: Upstream) -> str:
    return upstream.play({"hold": True, "items": [{"type": "message", "deltas": ["a"]}]})


def signal_group(gateway: Gateway, number: int) -> None:
    """As a terminal does with Ctrl-C."""
    os.killpg(gateway.process.pid, number)


def of_turn(gateway: Gateway) -> list[psutil.Process]:
    """The codex processes while a turn runs: the child of all turns, or the turn's own."""
    processes = gateway.codex_processes()
    assert processes
    return processes


@on_each_route
def test_term_ends_a_long_stream_cleanly_and_leaves_nothing(
    make_gateway: Any, upstream: Upstream, route: Route
) -> None:
    gateway: Gateway = make_gateway(WORKER_SHUTDOWN_GRACE_MS="300")
    family = [gateway.master(), *gateway.master().children(recursive=True)]
    marker = held(upstream)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(route.stream, gateway, route.ask(marker))
        upstream.control.wait("held", marker)
        gateway.process.send_signal(signal.SIGTERM)
        told = answer.result()
    assert (told.code, told.error["retryable"]) == ("DRAINING", True)
    assert gateway.process.wait(DEADLINE_S) == 0
    assert [process for process in family[1:] if process.is_running()] == []


@pytest.mark.chaos
def test_term_with_a_stream_of_20_s_and_a_grace_of_3_s(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(WORKER_SHUTDOWN_GRACE_MS="3000")
    child = gateway.child()
    marker = upstream.say(*["word "] * 100, interval_ms=200)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("headers_sent", marker)
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        _, frames = answer.result()
        assert gateway.process.wait(DEADLINE_S) == 0
        assert time.monotonic() - began < 15, "the stream would have lasted 20 seconds"
    assert frames[-2]["error"]["code"] == "DRAINING"
    assert not child.is_running()


def test_who_still_waits_for_a_turn_when_the_grace_is_over_is_told(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(
        WORKER_SHUTDOWN_GRACE_MS="500", WORKER_MAX_CONCURRENCY="1", WORKER_QUEUE_TIMEOUT_MS="60000"
    )
    marker = held(upstream)
    with ThreadPoolExecutor(4) as pool:
        running = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("held", marker)
        waiting = [pool.submit(gateway.post, ask(held(upstream))) for _ in range(3)]
        wait_until(lambda: gateway.get("/healthz").json()["child"]["waiting"] == 3, "they wait")
        gateway.process.send_signal(signal.SIGTERM)
        answers = [request.result(DEADLINE_S) for request in waiting]
        assert running.result(DEADLINE_S)[1][-2]["error"]["code"] == "DRAINING"
    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["error"]["code"] for answer in answers} == {"DRAINING"}
    assert gateway.process.wait(DEADLINE_S) == 0


@pytest.mark.app_server  # the one child is killed before anybody asks
def test_who_waits_for_a_child_that_does_not_come_is_told(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(
        WORKER_SHUTDOWN_GRACE_MS="300",
        WORKER_BACKOFF_INITIAL_MS="60000",
        WORKER_BACKOFF_MAX_MS="60000",
        WORKER_QUEUE_TIMEOUT_MS="60000",
    )
    gateway.child().kill()
    wait_until(lambda: gateway.get("/readyz").status_code == 503, "the child is gone")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gateway.post, ask(upstream.say("never")))
        wait_until(lambda: gateway.get("/healthz").json()["child"]["running"] == 1, "it waits")
        gateway.process.send_signal(signal.SIGTERM)
        answer = waiting.result(DEADLINE_S)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "DRAINING")
    assert gateway.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_binary_that_hangs_before_it_is_the_child_is_not_left_behind(
    make_gateway: Any, tmp_path: Path, number: signal.Signals
) -> None:
    binary = tmp_path / "codex-that-hangs"
    binary.write_text("#!/bin/sh\nexec sleep 1000\n")  # asked for its models, too
    binary.chmod(0o755)
    gateway: Gateway = make_gateway(ready=False, CODEX_BIN=str(binary))

    def hanging() -> list[psutil.Process]:
        below = gateway.master().children(recursive=True)
        return [process for process in below if process.name() == "sleep"]

    wait_until(hanging, "it hangs")
    (process,) = hanging()
    (worker,) = gateway.workers()
    began = time.monotonic()
    if number == signal.SIGKILL:
        worker.kill()
    else:
        assert gateway.stop() == 0
        took = time.monotonic() - began
        # Nobody has a reason to wait for it. A supervisor that did would not have stopped when the worker goes without
        # it, after seven seconds; where the machine stood still, this tells the two apart.
        assert took < 6 or (IS_SHARED and gateway.events("child_stopped"))
    wait_until(lambda: not process.is_running(), "it has gone, too")


def test_a_worker_whose_master_was_killed_drains(make_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = make_gateway()
    (worker,) = gateway.workers()
    marker = held(upstream)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("held", marker)
        codex = of_turn(gateway)
        gateway.process.kill()
        wait_until(lambda: gateway.events("drain_began"), "the drain began")
        upstream.control.release(marker)
        _, frames = answer.result()
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    wait_until(lambda: not worker.is_running(), "the worker has gone")
    wait_until(lambda: not any(map(psutil.Process.is_running, codex)), "its child, too")


@on_each_route
def test_ctrl_c_drains(make_gateway: Any, upstream: Upstream, route: Route) -> None:
    gateway: Gateway = make_gateway()
    marker = held(upstream)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(route.stream, gateway, route.ask(marker))
        upstream.control.wait("held", marker)
        codex = of_turn(gateway)
        signal_group(gateway, signal.SIGINT)
        wait_until(lambda: gateway.events("drain_began"), "the drain began")
        upstream.control.release(marker)
        told = answer.result()
    assert told.is_whole
    assert gateway.process.wait(DEADLINE_S) == 0
    assert not any(map(psutil.Process.is_running, codex))


def test_a_second_ctrl_c_does_not_wait(make_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = make_gateway(WORKER_SHUTDOWN_GRACE_MS="600000")
    marker = held(upstream)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("held", marker)
        codex = of_turn(gateway)
        signal_group(gateway, signal.SIGINT)
        wait_until(lambda: gateway.events("drain_began"), "the drain began")
        signal_group(gateway, signal.SIGINT)
        assert gateway.process.wait(DEADLINE_S) == 0
        _, frames = answer.result(DEADLINE_S)
    assert frames[-2]["error"]["retryable"] is True
    wait_until(lambda: not any(map(psutil.Process.is_running, codex)), "the child is gone")


@on_each_route
def test_a_terminal_that_hangs_up_ends_no_stream(
    make_gateway: Any, upstream: Upstream, route: Route
) -> None:
    gateway: Gateway = make_gateway()
    marker = held(upstream)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(route.stream, gateway, route.ask(marker))
        upstream.control.wait("held", marker)
        signal_group(gateway, signal.SIGHUP)
        wait_until(lambda: gateway.events("reload_done"), "it is a reload")
        upstream.control.release(marker)
        told = answer.result()
    assert told.is_whole


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["-w", "2"], {}),
        (["--workers=3"], {}),
        ([], {"WEB_CONCURRENCY": "2"}),
        ([], {"GUNICORN_CMD_ARGS": "--workers 2"}),
    ],
)
def test_more_than_one_worker_is_refused_with_the_remedy(
    tmp_path: Path, upstream: Upstream, arguments: list[str], environment: dict[str, str]
) -> None:
    site = Site(tmp_path / "site", upstream)
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", *arguments, "wsgi:app"],
        cwd=site.folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "The gateway runs exactly one gunicorn worker:" in done.stderr
    for word in ("-w", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "CODEX_HOME"):
        assert word in done.stderr
    assert not (site.folder / "codex-home" / "gunicorn.pid").exists()


def test_a_worker_that_is_told_to_go_alone_is_replaced(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway()
    (worker,) = gateway.workers()
    worker.terminate()
    wait_until(lambda: [w for w in gateway.workers() if w.pid != worker.pid], "a new worker")
    gateway.wait_ready()
    assert gateway.post(ask(upstream.say("fine"))).status_code == 200
    assert gateway.stop() == 0
    assert processes_below(gateway) == []
