"""`/metrics`: who may read it, and what stays true when children and workers change."""

from __future__ import annotations

import fcntl
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.gateway_pool import ADMIN_KEY, EVERY_KEY, METRICS_TOKEN, SECOND_KEY
from tests.e2e.harness import DEADLINE_S, KEY, Gateway, Upstream, ask, wait_until
from tests.e2e.scrape import scrape, total


def status(gateway: Gateway, path: str, key: str | None, method: str = "GET") -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return requests.request(
        method, gateway.url + path, headers=headers, timeout=DEADLINE_S
    ).status_code


def test_without_a_token_of_their_own_the_metrics_open_with_the_first_key(gateway: Gateway) -> None:
    assert status(gateway, "/metrics", KEY) == 200
    assert status(gateway, "/metrics", None) == 401
    assert status(gateway, "/metrics", "wrong") == 401


@pytest.fixture
def guarded(lend_gateway: Any) -> Gateway:
    gateway: Gateway = lend_gateway(**EVERY_KEY)
    return gateway


def test_each_key_opens_its_own_door_and_no_other(guarded: Gateway) -> None:
    doors = {"/metrics": METRICS_TOKEN, "/internal/log-level": ADMIN_KEY, "/v1/models": KEY}
    for path, fitting in doors.items():
        for key in (*doors.values(), SECOND_KEY):
            opens = key == fitting or (path, key) == ("/v1/models", SECOND_KEY)
            assert status(guarded, path, key) == (200 if opens else 401), (path, key)
    assert status(guarded, "/metrics/", METRICS_TOKEN) == 200


def test_in_production_internal_does_not_exist_without_an_admin_key(make_gateway: Any) -> None:
    key = "sk-production-key-0123456789abcdef"
    gateway: Gateway = make_gateway(ready=False, PROXY_ENV="prod", PROXY_API_KEY=key)
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert status(gateway, "/internal/log-level", key, method) == 404
    assert status(gateway, "/metrics", key) == 200


def test_the_child_and_the_master_do_not_see_the_folder_of_the_metrics(gateway: Gateway) -> None:
    for process in (gateway.child(), gateway.master()):
        assert not [name for name in process.environ() if "PROMETHEUS" in name.upper()]


def is_waited_for(path: Path) -> bool:
    """Whether a process waits for a lock of that file."""
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "-> FLOCK" in line]
    return any(f":{path.stat().st_ino} " in line for line in waiting)


def test_a_scrape_that_waits_for_its_files_stops_nobody(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway()
    lock = gateway.home / "metrics" / "lock"
    with ThreadPoolExecutor() as pool, lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        scraping = pool.submit(gateway.get, "/metrics")
        wait_until(lambda: is_waited_for(lock), "the scrape waits")
        try:
            assert gateway.get("/livez").status_code == 200
            assert not scraping.done()
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
        assert scraping.result().status_code == 200


def test_restarts_are_counted_and_survive_a_reload(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway()
    for killed in (1, 2):
        gateway.child().kill()
        wait_until(lambda: len(gateway.events("child_exited")) == killed, "it is noticed")  # noqa: B023
        gateway.wait_ready()
    (old,) = gateway.workers()
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not old.is_running(), "the old worker is gone")
    gateway.wait_ready()
    samples = scrape(gateway)
    assert total(samples, "codex_worker_restarts_total") == 2
    assert total(samples, "codex_worker_ready") == 1
    assert 0 < total(samples, "codex_worker_handshake_ms") < 30_000


def test_a_child_that_is_gone_is_seen(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(WORKER_BACKOFF_INITIAL_MS="3000")
    gateway.child().kill()

    def backs_off() -> Any:
        samples = scrape(gateway)
        return samples if total(samples, "codex_worker_backoff_ms") else None

    samples = wait_until(backs_off, "it waits before it starts another child")
    assert total(samples, "codex_worker_ready") == 0
    assert total(samples, "codex_worker_backoff_ms") == 3000
    gateway.wait_ready()
    samples = scrape(gateway)
    assert total(samples, "codex_worker_ready") == 1
    assert total(samples, "codex_worker_backoff_ms") == 0


def open_stream(gateway: Gateway, upstream: Upstream) -> tuple[str, requests.Response]:
    marker = upstream.play({"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]})
    answer = gateway.post(ask(marker, stream=True), stream=True)
    assert answer.status_code == 200
    return marker, answer


def test_open_streams_of_both_workers_of_a_reload_are_added_up(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway()
    (old,) = gateway.workers()
    first = open_stream(gateway, upstream)
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(gateway.events("child_ready")) == 2, "the new child is ready")
    gateway.wait_ready()
    second = open_stream(gateway, upstream)
    samples = scrape(gateway)
    assert total(samples, "codex_streams_active") == 2
    assert total(samples, "codex_worker_ready") == 1
    for marker, answer in (first, second):
        upstream.control.wait("held", marker)
        upstream.control.release(marker)
        assert answer.text.endswith("data: [DONE]\n\n")
    wait_until(lambda: not old.is_running(), "the old worker is gone")
    wait_until(lambda: total(scrape(gateway), "codex_streams_active") == 0, "none is open")
    assert total(scrape(gateway), "codex_stream_duration_ms_count") == 2


def test_a_crashed_workers_open_streams_are_forgotten(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway()
    _, answer = open_stream(gateway, upstream)
    assert total(scrape(gateway), "codex_streams_active") == 1
    (worker,) = gateway.workers()
    worker.kill()
    wait_until(lambda: [w for w in gateway.workers() if w.pid != worker.pid], "a new worker")
    gateway.wait_ready()
    answer.close()
    wait_until(lambda: total(scrape(gateway), "codex_streams_active") == 0, "forgotten")
    assert not list((gateway.home / "metrics").glob(f"gauge_live*_{worker.pid}.db"))


def test_a_start_counts_from_zero(make_gateway: Any, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    first: Gateway = make_gateway(CODEX_HOME=home)
    assert first.get("/v1/models").status_code == 200
    assert total(scrape(first), "codex_http_requests_total", route="/v1/models") == 1
    assert first.stop() == 0
    second: Gateway = make_gateway(CODEX_HOME=home)
    assert total(scrape(second), "codex_http_requests_total", route="/v1/models") == 0


def test_a_caller_makes_no_series(gateway: Gateway) -> None:
    gateway.get("/v1/models/canary-model")
    gateway.get("/canary-path")
    status(gateway, "/v1/models", KEY, "BREW")
    gateway.post({"model": "canary-model", "messages": [], "canary_field": 1})
    text = gateway.get("/metrics").text
    assert "canary" not in text
    assert "BREW" not in text
    assert 'route="/v1/models/<path:name>"' in text
