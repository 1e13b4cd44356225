"""Responses in the background at a reload, at a stop, at the death of a worker, and in two replicas."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.background import begin, cancel, ended, followed, get, held, shown, told
from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, end, start_gateway, wait_until
from tests.e2e.reloading import Site, events, hup, wait_reloads
from tests.e2e.responses_api import post
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.timeout(180)

LOST_S = 90
"""Far more than the time after which nobody works on a response any more."""


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Gateway]]:
    """Gateways that can be reloaded."""
    started: list[Gateway] = []

    def start(**settings: str) -> Gateway:
        folder = Site(tmp_path / f"site-{len(started)}", upstream, settings)
        started.append(folder.start())
        started[-1].wait_ready()
        return started[-1]

    yield start
    for gateway in started:
        end(gateway)


def running(gateway: Gateway, upstream: Upstream, **more: Any) -> tuple[str, str]:
    """Begin a response and wait until it has said its first word; return its id and marker."""
    marker = held(upstream, after=1)
    response_id = begin(gateway, marker, **more)["id"]
    assert "a" in (event.get("delta") for event in followed(gateway, response_id))
    upstream.control.wait("held", marker)
    return response_id, marker


def text_of(response: dict[str, Any]) -> str:
    text: str = response["output"][0]["content"][0]["text"]
    return text


# A reload


def test_it_goes_on_in_the_worker_that_a_reload_has_replaced(
    site: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = site()
    response_id, marker = running(gateway, upstream)
    waiting_id, waiting_marker = running(gateway, upstream)
    (old,) = gateway.workers()
    hup(gateway)
    wait_reloads(gateway, 1)
    # The successor has it from the store: at once where it stood at the last sign of life.
    wait_until(lambda: shown(gateway, response_id)["status"] == "in_progress", "it is known here")
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(get, gateway, response_id, stream="true")
        upstream.control.release(marker)
        live = told(following.result())
    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    assert live[-1]["type"] == "response.completed"
    assert text_of(ended(gateway, response_id)) == "abc"
    assert old.is_running(), "the other one still runs in it"
    upstream.control.release(waiting_marker)
    assert text_of(ended(gateway, waiting_id)) == "abc"
    old.wait(DEADLINE_S)


def test_the_successor_cancels_what_its_predecessor_runs(
    site: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = site()
    response_id, marker = running(gateway, upstream)
    (old,) = gateway.workers()
    hup(gateway)
    wait_reloads(gateway, 1)
    cancelled = cancel(gateway, response_id).json()
    assert cancelled["status"] == "cancelled"
    upstream.control.wait("peer_closed", marker)
    old.wait(DEADLINE_S)
    assert shown(gateway, response_id) == cancelled
    assert events(gateway, "background_answer")[-1]["outcome"] == "cancelled"


def test_what_the_grace_of_a_reload_does_not_last_for_has_failed(
    site: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = site(WORKER_RELOAD_GRACE_MS="500")
    response_id, _ = running(gateway, upstream)
    hup(gateway)
    wait_reloads(gateway, 1)
    failed = ended(gateway, response_id)
    assert failed["status"] == "failed"
    assert failed["codex_metadata"]["error"]["code"] == "DRAINING"


# A stop, a death


def test_what_a_stop_cuts_off_has_failed_for_the_next_start(
    tmp_path: Path, upstream: Upstream
) -> None:
    first = start_gateway(tmp_path, upstream, WORKER_SHUTDOWN_GRACE_MS="300")
    try:
        first.wait_ready()
        response_id, _ = running(first, upstream)
        with post(
            first,
            {"input": f"hi {held(upstream, after=1)}", "background": True, "stream": True},
            stream=True,
        ) as streamed:
            first.process.send_signal(signal.SIGTERM)
            last = [line for line in streamed.iter_lines() if line.startswith(b"event: ")][-1]
        assert last == b"event: response.failed"
        assert first.process.wait(DEADLINE_S) == 0
    finally:
        end(first)
    again = start_gateway(tmp_path, upstream)
    try:
        again.wait_ready()
        failed = shown(again, response_id)
        assert failed["status"] == "failed"
        assert failed["codex_metadata"]["error"]["code"] == "DRAINING"
        assert text_of(failed) == "a", "what it had said by then"
    finally:
        end(again)


def test_what_a_worker_was_killed_over_has_failed(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway()
    response_id, _ = running(gateway, upstream)
    (worker,) = gateway.workers()
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: [new for new in gateway.workers() if new.pid != worker.pid], "another one")
    gateway.wait_ready()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(get, gateway, response_id, stream="true", starting_after=4)
        failed = ended(gateway, response_id, LOST_S)
        *silences, last = told(following.result())
    assert {event["type"] for event in silences} <= {"response.in_progress"}
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "server_error"
    assert failed["codex_metadata"]["error"]["code"] == "WORKER_UNAVAILABLE"
    assert (last["type"], last["response"]) == ("response.failed", failed)
    assert last["sequence_number"] > 4
    assert cancel(gateway, response_id).json() == failed
    went_on = post(gateway, {"input": upstream.say("a"), "previous_response_id": response_id})
    assert went_on.status_code == 200


# Replicas


@pytest.mark.system
def test_one_replica_shows_and_cancels_what_the_other_runs(
    make_gateway: Callable[..., Gateway], upstream: Upstream, tmp_path: Path
) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        one, other = (make_gateway(PROXY_RESPONSE_STORE=redis.url) for _ in range(2))
        response_id, marker = running(one, upstream)
        wait_until(lambda: shown(other, response_id)["status"] == "in_progress", "told the store")
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(get, other, response_id, stream="true")
            upstream.control.release(marker)
            live = told(following.result())
        assert live[-1]["response"] == shown(one, response_id) == shown(other, response_id)
        response_id, marker = running(one, upstream)
        assert cancel(other, response_id).json()["status"] == "cancelled"
        upstream.control.wait("peer_closed", marker)
        wait_until(lambda: shown(one, response_id)["status"] == "cancelled", "seen by both")
        response_id, marker = running(one, upstream)
        one.process.kill()
        for worker in one.workers():
            worker.kill()
        assert ended(other, response_id, LOST_S)["status"] == "failed"
    finally:
        redis.kill()
