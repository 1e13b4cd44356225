"""What dies, what drains, what comes back."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import requests

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, ask, wait_until
from tests.e2e.raw_http import stream_frames

OPEN_STREAMS = 5


def held(upstream: Upstream, *deltas: str) -> str:
    return upstream.play({"hold": True, "items": [{"type": "message", "deltas": list(deltas)}]})


def data_lines(response: Any) -> Iterator[Any]:
    for line in response.iter_lines():
        if line.startswith(b"data: "):
            data = line.removeprefix(b"data: ")
            yield data.decode() if data == b"[DONE]" else json.loads(data)


def read_until_text(lines: Iterator[Any], text: str) -> None:
    for frame in lines:
        if frame["choices"][0]["delta"].get("content") == text:
            return


def test_a_killed_child_ends_its_streams_and_comes_back(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway()
    markers = [held(upstream, "a", "b") for _ in range(OPEN_STREAMS)]
    responses = [gateway.post(ask(marker, stream=True), stream=True) for marker in markers]
    streams = [data_lines(response) for response in responses]
    for lines in streams:
        read_until_text(lines, "b")
    first = gateway.child()
    first.kill()
    for lines in streams:
        error, done = list(lines)
        assert error["error"]["code"] == "WORKER_UNAVAILABLE"
        assert error["error"]["retryable"] is True
        assert done == "[DONE]"
    wait_until(lambda: gateway.events("child_exited"), "the exit is logged")
    gateway.wait_ready()
    answer = gateway.post(ask(upstream.say("again"))).json()
    assert answer["choices"][0]["message"]["content"] == "again"
    assert gateway.child().pid != first.pid
    health = gateway.get("/healthz").json()
    assert (health["child"]["restarts"], health["child"]["last_exit"]["exit_code"]) == (1, -9)


def test_readyz_says_no_while_the_child_is_gone(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(WORKER_BACKOFF_INITIAL_MS="4000")
    gateway.child().kill()

    def backs_off() -> Any:
        answers = [gateway.get(path, key=False) for path in ("/readyz", "/healthz", "/livez")]
        return answers if answers[0].json().get("reason") == "backoff" else None

    ready, health, live = wait_until(backs_off, "it waits before it starts another child")
    assert ready.status_code == 503
    assert ready.json() == {"status": "not_ready", "reason": "backoff"}
    assert health.json()["status"] == "starting"
    assert live.status_code == 200
    gateway.wait_ready()


def test_a_child_that_cannot_start_is_degraded_and_recovers(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(WORKER_BACKOFF_INITIAL_MS="10", WORKER_BACKOFF_MAX_MS="40")
    foreign = gateway.home / "config.toml"
    foreign.write_text("model = 'x'\n")
    gateway.child().kill()
    wait_until(lambda: gateway.get("/healthz").json()["status"] == "degraded", "degraded")
    wait_until(lambda: len(gateway.events("child_degraded")) == 1, "the log says so")
    assert gateway.get("/readyz").json()["reason"] == "home_refused"
    foreign.unlink()
    gateway.wait_ready()
    assert gateway.get("/healthz").json()["status"] == "ok"


def test_a_killed_worker_leaves_no_child_behind(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway()
    child, (worker,) = gateway.child(), gateway.workers()
    worker.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "gone")
    wait_until(lambda: [w for w in gateway.workers() if w.pid != worker.pid], "a new worker")
    gateway.wait_ready()
    assert gateway.child().pid != child.pid


def test_term_lets_streams_finish(make_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = make_gateway()
    child = gateway.child()
    marker = held(upstream, "a", "b")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("held", marker)
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: gateway.events("drain_began"), "the drain began")
        upstream.control.release(marker)
        _, frames = answer.result()
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert gateway.process.wait(20) == 0
    assert not child.is_running()


def test_term_ends_what_outlives_the_grace_with_a_frame(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(WORKER_SHUTDOWN_GRACE_MS="300")
    child = gateway.child()
    marker = held(upstream, "a")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("held", marker)
        gateway.process.send_signal(signal.SIGTERM)
        _, frames = answer.result()
    assert frames[-2]["error"]["code"] == "DRAINING"
    assert gateway.process.wait(20) == 0
    assert not child.is_running()
    upstream.control.wait("peer_closed", marker)


def test_a_connection_that_idles_does_not_hold_up_the_exit(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway()
    with requests.Session() as session, socket.create_connection(("127.0.0.1", gateway.port)):
        session.get(f"{gateway.url}/livez", timeout=DEADLINE_S)
        assert gateway.stop() == 0
    assert any("Worker exiting" in entry["event"] for entry in gateway.log())
    assert gateway.events("child_stopped")
    assert [entry for entry in gateway.log() if entry["level"] in {"error", "critical"}] == []


def test_hup_lets_streams_finish_and_loads_a_new_generation(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway()
    old_child = gateway.child()
    marker = held(upstream, "a", "b")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("held", marker)
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(gateway.codex_processes()) == 2, "two generations overlap")
        again = gateway.post(ask(upstream.say("new"))).status_code
        upstream.control.release(marker)
        _, frames = answer.result()
    assert again == 200
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    wait_until(lambda: not old_child.is_running(), "the old child is gone")
    gateway.wait_ready()
    assert gateway.stop() == 0


def test_the_log_has_one_line_a_request_and_no_secret(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(LOG_LEVEL="debug")
    canary = "canary-in-a-prompt"
    marker = upstream.say("canary-in-an-answer", usage={"input_tokens": 5, "output_tokens": 2})
    body = ask(marker, stream=True)
    body["messages"][0]["content"] += canary
    stream_frames(gateway, body)
    gateway.post(ask(upstream.play({"failure": "bad_request"})))
    gateway.stop()
    lines = [e for e in gateway.events("request") if e["route"] == "/v1/chat/completions"]
    assert [(e["status"], e["outcome"]) for e in lines] == [(200, "completed"), (400, "failed")]
    assert (lines[0]["prompt_tokens"], lines[0]["completion_tokens"]) == (5, 2)
    assert lines[0]["finish_reason"] == "stop"
    text = gateway.log_path.read_text()
    for secret in ("canary", "sk-e2e", "upstream-key", marker):
        assert secret not in text
