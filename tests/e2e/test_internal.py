"""`/internal`: what an operator changes while the service runs."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, Gateway, wait_until


def set_level(gateway: Gateway, body: Any) -> requests.Response:
    url = f"{gateway.url}/internal/log-level"
    return requests.post(url, json=body, headers=gateway.headers, timeout=DEADLINE_S)


def test_the_level_changes_at_once_and_goes_back_at_a_reload(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway()
    assert gateway.get("/internal/log-level").json() == {"level": "info", "configured": "info"}
    answer = set_level(gateway, {"level": "error"})
    assert answer.json() == {"level": "error", "configured": "info"}
    assert set_level(gateway, {"level": "error"}).status_code == 200
    silent = len(gateway.events("request"))
    gateway.get("/v1/models")
    assert set_level(gateway, {"level": "debug"}).status_code == 200
    wait_until(lambda: len(gateway.events("request")) == silent + 1, "it speaks again")
    changes = [(e["before"], e["now"]) for e in gateway.events("log_level_changed")]
    assert changes == [("info", "error"), ("error", "debug")]
    (old,) = gateway.workers()
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not old.is_running(), "the old worker is gone")
    gateway.wait_ready()
    assert gateway.get("/internal/log-level").json()["level"] == "info"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_required_parameter"),
        ({"level": None}, "missing_required_parameter"),
        ({"level": 10}, "invalid_type"),
        ({"level": "loud"}, "invalid_value"),
        ({"level": "INFO"}, "invalid_value"),
    ],
)
def test_a_level_that_is_none_is_refused(gateway: Gateway, body: Any, code: str) -> None:
    answer = set_level(gateway, body)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, "level")
    assert gateway.get("/internal/log-level").json()["level"] == "info"


def test_pages_in_browsers_cannot_call(gateway: Gateway) -> None:
    for path in ("/internal/log-level", "/metrics"):
        headers = {**gateway.headers, "Origin": "https://page.example"}
        answer = requests.get(gateway.url + path, headers=headers, timeout=DEADLINE_S)
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
