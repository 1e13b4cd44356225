"""Maintenance: the API says no in its own words, everything else goes on, and the flag outlives whoever set it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from tests.e2e.gateway_pool import ADMIN_KEY, EVERY_KEY, ONE_SLOT, SECOND_KEY
from tests.e2e.harness import DEADLINE_S, KEY, MODEL, Gateway, Upstream, ask, end, wait_until
from tests.e2e.raw_http import stream_frames
from tests.e2e.reloading import Site, hup, wait_reloads
from tests.e2e.scrape import scrape, total

REASON = "We are moving the database \N{EN DASH} back soon."
FUTURE = "2099-12-01T10:00:00Z"
EVERYTHING_OFF = {"enabled": False, "reason": None, "until": None, "retry_after_s": None}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def call(
    gateway: Gateway, method: str, body: Any = None, *, key: str = KEY, path: str = ""
) -> requests.Response:
    url = gateway.url + (path or "/internal/maintenance")
    return requests.request(method, url, json=body, headers=bearer(key), timeout=DEADLINE_S)


def switch(gateway: Gateway, **order: Any) -> dict[str, Any]:
    answer = call(gateway, "POST", order)
    assert answer.status_code == 200, answer.text
    state: dict[str, Any] = answer.json()
    return state


def is_closed(gateway: Gateway) -> bool:
    return gateway.get("/v1/models").status_code == 503


def changes(gateway: Gateway) -> list[tuple[bool, str]]:
    return [(e["is_on"], e["set_by"]) for e in gateway.events("maintenance_changed")]


@pytest.fixture
def service(gateway: Gateway) -> Iterator[Gateway]:
    """The gateway that all tests share, as it was before."""
    yield gateway
    assert call(gateway, "DELETE").json()["enabled"] is False


# What clients see


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/chat/completions", {"model": MODEL, "messages": []}),
        ("POST", "/v1/chat/completions/", {"stream": True}),
        ("POST", "/v1/completions", {"model": MODEL, "prompt": "x"}),
        ("GET", "/v1/models", None),
        ("GET", f"/v1/models/{MODEL}", None),
    ],
)
def test_the_api_says_no_in_the_envelope(
    service: Gateway, method: str, path: str, body: Any
) -> None:
    switch(service, enabled=True, reason=REASON, until=FUTURE, retry_after_s=17)
    answer = call(service, method, body, path=path)
    assert answer.status_code == 503
    assert answer.json() == {
        "error": {
            "message": f"This gateway is in maintenance until {FUTURE}: {REASON}",
            "type": "server_error",
            "param": None,
            "code": "MAINTENANCE",
            "retryable": True,
        }
    }
    assert answer.headers["Retry-After"] == "17"
    assert answer.headers["x-should-retry"] == "true"


def test_without_words_of_the_operator_there_are_ours(service: Gateway) -> None:
    switch(service, enabled=True)
    answer = service.post(ask("nothing"))
    assert answer.headers["Retry-After"] == "30"
    message = answer.json()["error"]["message"]
    assert message == "This gateway is in maintenance; send the request again later."


def test_the_sdk_types_it(service: Gateway, sdk: openai.OpenAI) -> None:
    switch(service, enabled=True, reason=REASON)
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as raised:
            sdk.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "x"}], stream=stream
            )
        assert isinstance(raised.value, openai.InternalServerError)
        assert raised.value.status_code == 503
        assert raised.value.code == "MAINTENANCE"
        body = raised.value.body
        assert isinstance(body, dict)
        assert body["retryable"] is True


def test_the_sdk_tries_again_and_gets_its_answer(service: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("back")
    switch(service, enabled=True, retry_after_s=1)
    refused = len(codes(service))
    with ThreadPoolExecutor(1) as pool, service.sdk(max_retries=5) as client:
        asked = pool.submit(
            lambda: client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": f"[{marker}]"}]
            )
        )
        wait_until(lambda: len(codes(service)) > refused, "it was refused")
        switch(service, enabled=False)
        assert asked.result(DEADLINE_S).choices[0].message.content == "back"


def codes(gateway: Gateway) -> list[str]:
    lines = gateway.events("request")
    return [e["error_code"] for e in lines if e.get("error_code") == "MAINTENANCE"]


def test_a_stranger_does_not_learn_of_it(service: Gateway) -> None:
    switch(service, enabled=True, reason=REASON)
    for key in ("", "wrong"):
        answer = call(service, "POST", ask("x"), key=key, path="/v1/chat/completions")
        assert answer.status_code == 401
        assert REASON not in answer.text


def test_what_no_view_answers_is_as_ever(service: Gateway) -> None:
    switch(service, enabled=True)
    assert service.get("/v1/nothing").status_code == 404
    assert service.get("/v1/chat/completions").status_code == 405
    preflight = requests.options(
        f"{service.url}/v1/chat/completions",
        headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"},
        timeout=DEADLINE_S,
    )
    assert preflight.status_code == 204
    refused = requests.post(
        f"{service.url}/v1/chat/completions",
        json=ask("x"),
        headers={**service.headers, "Origin": "https://a.example"},
        timeout=DEADLINE_S,
    )
    assert refused.status_code == 503
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


def test_an_open_model_list_is_closed_too(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(PROXY_PROTECT_MODELS="false", PROXY_MAINTENANCE_MODE="true")
    answer = gateway.get("/v1/models", key=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "MAINTENANCE")


# What goes on


def test_health_metrics_and_internal_stay(service: Gateway) -> None:
    switch(service, enabled=True, reason=REASON, until=FUTURE)
    assert service.get("/livez", key=False).json() == {"status": "live"}
    ready = service.get("/readyz", key=False)
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    health = service.get("/healthz", key=False)
    assert health.json() == {"status": "maintenance", "reason": REASON}
    details = service.get("/healthz").json()["maintenance"]
    assert details == call(service, "GET").json()
    assert details | {"since": ""} == {
        "enabled": True,
        "reason": REASON,
        "until": FUTURE,
        "retry_after_s": None,
        "set_by": "endpoint",
        "since": "",
        "configured": False,
    }
    assert total(scrape(service), "codex_maintenance_mode") == 1
    assert service.get("/internal/log-level").status_code == 200
    switch(service, enabled=False)
    assert total(scrape(service), "codex_maintenance_mode") == 0
    assert service.get("/healthz", key=False).json() == {"status": "ok", "reason": None}


def test_readyz_stays_200_where_the_child_cannot_start(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(
        ready=False, PROXY_MAINTENANCE_MODE="true", CODEX_BIN="/nowhere/codex"
    )
    wait_until(
        lambda: gateway.get("/readyz", key=False).json().get("reason") == "degraded", "degraded"
    )
    ready = gateway.get("/readyz", key=False)
    assert ready.status_code == 200
    assert ready.json() == {"status": "maintenance", "reason": "degraded"}
    assert "Retry-After" not in ready.headers
    switch(gateway, enabled=False)
    assert gateway.get("/readyz", key=False).status_code == 503


def test_what_runs_and_what_waits_is_finished(lend_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = lend_gateway(**ONE_SLOT)
    running = upstream.play(
        {"hold": True, "items": [{"type": "message", "deltas": ["a", "b", "c"]}]}
    )
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(stream_frames, gateway, ask(running))
        upstream.control.wait("held", running)
        waiting = pool.submit(gateway.post, ask(upstream.say("from the queue")))
        wait_until(lambda: gateway.get("/healthz").json()["child"]["waiting"] == 1, "it waits")
        switch(gateway, enabled=True)
        assert is_closed(gateway)
        upstream.control.release(running)
        _, frames = stream.result(DEADLINE_S)
        answer = waiting.result(DEADLINE_S)
    assert [f["choices"][0]["delta"].get("content") for f in frames[1:-2]] == ["a", "b", "c"]
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert answer.json()["choices"][0]["message"]["content"] == "from the queue"
    assert is_closed(gateway)
    switch(gateway, enabled=False)


# Setting it


def test_a_post_sets_all_of_it(service: Gateway) -> None:
    switch(service, enabled=True, reason=REASON, until=FUTURE, retry_after_s=5)
    again = switch(service, enabled=True)
    assert (again["enabled"], again["reason"], again["until"]) == (True, None, None)
    off = switch(service, enabled=False, reason="done", retry_after_s=9)
    assert {name: off[name] for name in EVERYTHING_OFF} == EVERYTHING_OFF
    assert off["set_by"] == "endpoint"
    reset = call(service, "DELETE").json()
    assert reset["set_by"] == "setting"
    assert call(service, "GET", path="/internal/maintenance/").json() == reset


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": True, "reason": 1}, "reason"),
        ({"enabled": True, "reason": "x" * 257}, "reason"),
        ({"enabled": True, "reason": "two\nlines"}, "reason"),
        ({"enabled": True, "until": "2020-01-01T00:00:00Z"}, "until"),
        ({"enabled": True, "until": "2099-01-01T00:00:00"}, "until"),
        ({"enabled": True, "until": 4_000_000_000}, "until"),
        ({"enabled": True, "retry_after_s": -1}, "retry_after_s"),
        ({"enabled": True, "retry_after_s": 86_401}, "retry_after_s"),
        ({"enabled": True, "retry_after_s": "30"}, "retry_after_s"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(service: Gateway, body: Any, field: str) -> None:
    before = call(service, "GET").json()
    answer = call(service, "POST", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert call(service, "GET").json() == before


def test_a_body_that_is_no_object_is_refused(service: Gateway) -> None:
    assert call(service, "POST", [True]).json()["error"]["code"] == "invalid_type"
    url = f"{service.url}/internal/maintenance"
    headers = {**service.headers, "Content-Type": "application/json"}
    answer = requests.post(url, data=b"{", headers=headers, timeout=DEADLINE_S)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_JSON")


def test_only_the_admin_key_opens_it(lend_gateway: Any) -> None:
    gateway: Gateway = lend_gateway(**EVERY_KEY)
    for key in ("", "wrong", KEY, SECOND_KEY):
        for method, body in (("GET", None), ("POST", {"enabled": True}), ("DELETE", None)):
            assert call(gateway, method, body, key=key).status_code == 401
    assert call(gateway, "POST", {"enabled": True}, key=ADMIN_KEY).status_code == 200
    refused = call(gateway, "GET", key=SECOND_KEY, path="/v1/models")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "MAINTENANCE")
    assert call(gateway, "DELETE", key=ADMIN_KEY).status_code == 200


def test_it_is_logged_without_its_reason(lend_gateway: Any) -> None:
    gateway: Gateway = lend_gateway()
    switch(gateway, enabled=True, reason="canary", until=FUTURE, retry_after_s=5)
    gateway.get("/v1/models")
    switch(gateway, enabled=False)
    switch(gateway, enabled=False)
    on, off = gateway.events("maintenance_changed")
    assert (on["is_on"], on["set_by"], on["until"], on["retry_after_s"]) == (
        True,
        "endpoint",
        FUTURE,
        5,
    )
    assert (off["is_on"], off["until"]) == (False, None)
    assert on["request_id"].startswith("req_")
    assert "canary" not in gateway.log_path.read_text()


# How long it lasts


def test_its_end_comes_by_itself(make_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = make_gateway()
    until = datetime.fromtimestamp(time.time() + 3, UTC)
    switch(gateway, enabled=True, until=until.isoformat())
    refused = gateway.post(ask("x"))
    assert refused.status_code == 503
    assert 1 <= int(refused.headers["Retry-After"]) <= 3
    wait_until(lambda: not is_closed(gateway), "it is over")
    assert datetime.now(UTC) >= until
    state = call(gateway, "GET").json()
    assert {name: state[name] for name in EVERYTHING_OFF} == EVERYTHING_OFF
    assert state["set_by"] == "until"
    assert gateway.post(ask(upstream.say("fine"))).status_code == 200
    wait_until(lambda: len(changes(gateway)) == 2, "the end is logged")
    hup(gateway)
    wait_reloads(gateway, 1)
    assert not is_closed(gateway)
    assert changes(gateway) == [(True, "endpoint"), (False, "until")]


@pytest.mark.parametrize("order", [{"enabled": True, "reason": REASON}, {"enabled": False}])
def test_a_killed_worker_takes_nothing_with_it(make_gateway: Any, order: dict[str, Any]) -> None:
    gateway: Gateway = make_gateway(PROXY_MAINTENANCE_MODE="false" if order["enabled"] else "true")
    before = switch(gateway, **order)
    (worker,) = gateway.workers()
    worker.kill()
    wait_until(lambda: [w for w in gateway.workers() if w.pid != worker.pid], "a new worker")
    gateway.wait_ready()
    assert call(gateway, "GET").json() == before
    assert is_closed(gateway) is order["enabled"]


Make = Callable[..., tuple[Site, Gateway]]


@pytest.fixture
def make(tmp_path: Path, upstream: Upstream) -> Iterator[Make]:
    """Gateways with an `.env` of their own."""
    started: list[Gateway] = []

    def start(**settings: str) -> tuple[Site, Gateway]:
        site = Site(tmp_path / f"site-{len(started)}", upstream, settings)
        gateway = site.start()
        started.append(gateway)
        gateway.wait_ready()
        return site, gateway

    yield start
    for gateway in started:
        end(gateway)


def test_a_reload_keeps_it_and_a_new_value_of_the_setting_wins(make: Make) -> None:
    site, gateway = make()
    before = switch(gateway, enabled=True, reason=REASON, retry_after_s=5)
    site.set(LOG_LEVEL="debug")
    hup(gateway)
    wait_reloads(gateway, 1)
    assert call(gateway, "GET").json() == before
    assert is_closed(gateway)
    site.set(PROXY_MAINTENANCE_MODE="true")
    hup(gateway)
    wait_reloads(gateway, 2)
    state = call(gateway, "GET").json()
    assert (state["enabled"], state["set_by"], state["configured"]) == (True, "setting", True)
    assert gateway.get("/v1/models").headers["Retry-After"] == "30"
    switch(gateway, enabled=False)
    hup(gateway)
    wait_reloads(gateway, 3)
    assert not is_closed(gateway)
    assert call(gateway, "DELETE").json()["enabled"] is True
    site.set(PROXY_MAINTENANCE_MODE="")
    hup(gateway)
    wait_reloads(gateway, 4)
    wait_until(lambda: not is_closed(gateway), "the worker that took over has opened")
    wait_until(lambda: len(changes(gateway)) == 5, "the last change is logged")
    assert changes(gateway) == [
        (True, "endpoint"),
        (True, "setting"),
        (False, "endpoint"),
        (True, "setting"),
        (False, "setting"),
    ]


def test_the_setting_closes_a_service_whose_new_child_does_not_start(make: Make) -> None:
    site, gateway = make()
    site.set(PROXY_MAINTENANCE_MODE="true", CODEX_BIN=site.codex("broken-codex", instead="exit 7"))
    hup(gateway)
    wait_until(lambda: is_closed(gateway), "the old worker has closed")
    assert gateway.get("/readyz").status_code == 200
    site.set(PROXY_MAINTENANCE_MODE="", CODEX_BIN="")
    hup(gateway)
    wait_reloads(gateway, 1)
    wait_until(lambda: not is_closed(gateway), "the worker that took over has opened")


def test_a_service_may_start_in_maintenance(make_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = make_gateway(PROXY_MAINTENANCE_MODE="true")
    assert is_closed(gateway)
    assert changes(gateway) == [(True, "setting")]
    switch(gateway, enabled=False)
    assert gateway.post(ask(upstream.say("open"))).status_code == 200


def test_a_stop_in_maintenance_is_a_stop(make_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = make_gateway()
    marker = upstream.play({"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]})
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("held", marker)
        switch(gateway, enabled=True)
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: gateway.events("drain_began"), "the drain began")
        upstream.control.release(marker)
        _, frames = stream.result(DEADLINE_S)
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert gateway.process.wait(DEADLINE_S) == 0
