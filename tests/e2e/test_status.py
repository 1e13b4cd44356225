"""`/internal/status` and `/internal/recent`: who is told what of the state and of the last hour."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.e2e.gateway_pool import ADMIN_KEY, EVERY_KEY, METRICS_TOKEN, SECOND_KEY
from tests.e2e.harness import DEADLINE_S, KEY, Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import HELD

SECRETS = (KEY, ADMIN_KEY, SECOND_KEY, METRICS_TOKEN, "upstream-key")
DATA = ("/internal/status", "/internal/recent")


def get(gateway: Gateway, path: str, key: str = ADMIN_KEY) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.get(gateway.url + path, headers=headers, timeout=DEADLINE_S)


@contextmanager
def held_stream(gateway: Gateway, upstream: Upstream) -> Iterator[None]:
    """A stream that has begun to speak, and goes on after the block."""
    marker = upstream.play(HELD)
    with gateway.post(ask(marker, stream=True), stream=True) as answer:
        assert answer.status_code == 200
        upstream.control.wait("held", marker)
        yield
        upstream.control.release(marker)
        assert answer.text.endswith("data: [DONE]\n\n")


@pytest.fixture
def gateway(lend_gateway: Any) -> Gateway:
    lent: Gateway = lend_gateway(**EVERY_KEY)
    return lent


@pytest.mark.parametrize("path", DATA)
def test_the_data_needs_the_operators_key(gateway: Gateway, path: str) -> None:
    for key in ("", KEY, SECOND_KEY, METRICS_TOKEN, "sk-of-nobody"):
        answer = get(gateway, path, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    answer = get(gateway, path)
    assert answer.status_code == 200
    assert not [secret for secret in SECRETS if secret in answer.text]
    assert len(answer.content) < 16_384


def test_status_tells_who_has_what(gateway: Gateway, upstream: Upstream) -> None:
    with held_stream(gateway, upstream):
        status = get(gateway, "/internal/status").json()
        assert status["streams"] == {"used": 1, "limit": 256, "by_key": {"default": 1}}
        assert status["turns"] == {"used": 1, "limit": 64, "by_key": {"default": 1}}
    assert status["queue"] == {"waiting": 0, "limit": 256}
    assert (status["status"], status["reason"]) == ("ok", None)
    assert status["log_level"] == {"level": "info", "configured": "info"}
    assert status["worker"]["generation"] == status["worker"]["serving"]
    health = get(gateway, "/healthz", KEY).json()
    assert set(health) <= set(status)
    assert status["versions"] == health["versions"]


@pytest.mark.app_server
def test_history_tells_how_a_child_ended(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(**EVERY_KEY)
    first = gateway.child()
    (born,) = get(gateway, "/internal/status").json()["history"]
    assert (born["what"], born["pid"]) == ("ready", first.pid)
    first.kill()
    history = wait_until(
        lambda: (found := get(gateway, "/internal/status").json()["history"])[2:] and found,
        "another child is ready",
    )
    assert [moment["what"] for moment in history] == ["ready", "exited", "ready"]
    assert (history[1]["reason"], history[1]["exit_code"]) == ("exited", -9)
    assert history[0]["pid"] == gateway.child().pid


def test_recent_tells_what_failed_and_whose_fault_it_was(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(**EVERY_KEY)
    usage = {
        "input_tokens": 100,
        "cached_tokens": 80,
        "output_tokens": 5,
    }
    assert gateway.post(ask(upstream.say("x", usage=usage))).status_code == 200
    failed = gateway.post(ask(upstream.play({"failure": "rate_limited"})))
    assert failed.status_code == 429
    assert gateway.post(ask("x", model="nobody")).status_code == 404
    recent = get(gateway, "/internal/recent").json()
    told = {error["code"]: error for error in recent["errors"]}
    assert {code: (error["fault"], error["count"]) for code, error in told.items()} == {
        "rate_limit_exceeded": ("account", 1),
        "model_not_found": ("clients", 1),
    }
    last = told["rate_limit_exceeded"]
    assert last["last_request_id"] == failed.headers["X-Request-Id"]
    assert last["last_route"] == "/v1/chat/completions"
    names = ("requests", "errors", "input_tokens", "cached_tokens", "output_tokens")
    sums = {name: sum(minute[name] for minute in recent["minutes"]) for name in names}
    assert sums == dict(zip(names, (3, 2, 100, 80, 5), strict=True))
    assert recent["duration_ms"]["count"] == 1
    assert recent["duration_ms"]["p50"] > 0


def test_both_workers_of_a_reload_are_told_while_there_are_two(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(**EVERY_KEY)
    (old,) = gateway.workers()
    with held_stream(gateway, upstream):
        gateway.process.send_signal(signal.SIGHUP)

        def workers() -> dict[int, int]:
            answer = get(gateway, "/internal/recent").json()
            return {one["pid"]: one["streams"] for one in answer["workers"]}

        found = wait_until(
            lambda: (now := workers())[old.pid] == 1 and len(now) == 2 and now, "two"
        )
        assert sorted(found.values()) == [0, 1]
        wait_until(
            lambda: get(gateway, "/internal/status").json()["worker"]["generation"] == 2,
            "the new one answers",
        )
    wait_until(lambda: set(workers()).isdisjoint({old.pid}), "the old one is gone")
    assert get(gateway, "/internal/status").json()["reload"]["state"] == "done"
