"""The limits of the account behind the service: what the upstream says of them reaches clients and operators."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, ask, end, start_gateway, wait_until
from tests.e2e.scrape import scrape

USED = "codex_account_limit_used_percent"
RESET = "codex_account_limit_reset_timestamp_seconds"


def said(**windows: tuple[int, int, int]) -> dict[str, str]:
    """Headers as the ChatGPT backend sends them: percent used, minutes, Unix time of the reset."""
    return {
        f"x-codex-{window}-{what}": str(value)
        for window, values in windows.items()
        for what, value in zip(("used-percent", "window-minutes", "reset-at"), values, strict=True)
    }


def account_headers(answer: requests.Response) -> dict[str, str]:
    found = {name.lower(): value for name, value in answer.headers.items()}
    return {name: value for name, value in found.items() if name.startswith("x-codex-")}


def gauges(gateway: Gateway, name: str) -> dict[str, float]:
    return {
        dict(labels)["window"]: value
        for (found, labels), value in scrape(gateway).items()
        if found == name
    }


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """One for all but the first test, since what was heard stays."""
    running = start_gateway(tmp_path_factory.mktemp("account"), upstream)
    running.wait_ready()
    yield running
    end(running)


def hear(gateway: Gateway, upstream: Upstream, **windows: tuple[int, int, int]) -> None:
    """Let the child hear of the windows, with an answer; wait until the gateway has heard, too."""
    marker = upstream.say("ok", headers=said(**windows))
    assert gateway.post(ask(marker)).status_code == 200
    percent = {f"x-codex-{name}-used-percent": str(w[0]) for name, w in windows.items()}
    wait_until(
        lambda: percent.items() <= account_headers(gateway.get("/v1/models")).items(), "it is heard"
    )


def line_of(gateway: Gateway, answer: requests.Response) -> dict[str, Any]:
    """Return the line of a request, which is written a moment after its answer."""
    request_id = answer.headers["X-Request-Id"]

    def lines() -> list[dict[str, Any]]:
        return [line for line in gateway.events("request") if line["request_id"] == request_id]

    (line,) = wait_until(lines, "the line is written")
    return dict(line)


def hear_of_room(gateway: Gateway, upstream: Upstream) -> None:
    soon = int(time.time()) + 3600
    hear(gateway, upstream, primary=(1, 300, soon), secondary=(2, 10_080, soon))


def test_before_anything_was_heard_nothing_is_said(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway()
    assert account_headers(gateway.post(ask(upstream.say("ok")))) == {}
    assert gauges(gateway, USED) == gauges(gateway, RESET) == {}
    assert gateway.get("/healthz").json()["account_limits"] == {}


def test_what_the_upstream_said_is_passed_on(gateway: Gateway, upstream: Upstream) -> None:
    soon, later = int(time.time()) + 3600, int(time.time()) + 400_000
    hear(gateway, upstream, primary=(37, 300, soon), secondary=(81, 10_080, later))
    expected = said(primary=(37, 300, soon), secondary=(81, 10_080, later))
    for answer in (
        gateway.get("/v1/models"),
        gateway.post(ask(upstream.say("ok"))),
        gateway.post({}),
    ):
        assert account_headers(answer) == expected
    assert gauges(gateway, USED) == {"primary": 37, "secondary": 81}
    assert gauges(gateway, RESET) == {"primary": soon, "secondary": later}
    seen = gateway.get("/healthz").json()["account_limits"]
    assert seen["primary"] == {"used_percent": 37, "window_minutes": 300, "resets_at": soon}


def test_what_an_answer_leaves_out_has_not_changed(gateway: Gateway, upstream: Upstream) -> None:
    soon = int(time.time()) + 3600
    hear(gateway, upstream, primary=(10, 300, soon), secondary=(20, 10_080, soon))
    hear(gateway, upstream, primary=(11, 300, soon))
    assert gauges(gateway, USED) == {"primary": 11, "secondary": 20}
    gateway.child().kill()
    gateway.wait_ready()
    assert gauges(gateway, USED) == {"primary": 11, "secondary": 20}


def test_whoever_has_no_key_learns_nothing(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(PROXY_PROTECT_MODELS="false")
    marker = upstream.say("ok", headers=said(primary=(37, 300, int(time.time()) + 3600)))
    gateway.post(ask(marker))
    wait_until(lambda: gauges(gateway, USED) == {"primary": 37}, "it is heard")
    for path in ("/v1/models", "/healthz", "/readyz"):
        answer = gateway.get(path, key=False)
        assert answer.ok
        assert account_headers(answer) == {}
        assert "account_limits" not in answer.text
    refused = requests.post(f"{gateway.url}/v1/chat/completions", json={}, timeout=DEADLINE_S)
    assert (refused.status_code, account_headers(refused)) == (401, {})


def spent(gateway: Gateway, marker: str, **more: Any) -> requests.Response:
    answer = gateway.post(ask(marker, **more))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "insufficient_quota")
    assert error["type"] == "insufficient_quota"
    assert answer.headers["x-should-retry"] == "false"
    assert "not this gateway's limit for your key" in error["message"]
    assert "http" not in error["message"]
    return answer


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_spent_quota_says_when_it_starts_again(
    gateway: Gateway, upstream: Upstream, is_stream: bool
) -> None:
    soon, later = int(time.time()) + 3600, int(time.time()) + 400_000
    windows = said(primary=(100, 300, soon), secondary=(50, 10_080, later))
    marker = upstream.play({"failure": {"name": "usage_limit_reached", "headers": windows}})
    answer = spent(gateway, marker, stream=is_stream)
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600
    again = f"{datetime.fromtimestamp(soon, UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert answer.json()["error"]["message"].endswith(f"It starts again at {again}.")


def test_of_two_full_windows_the_later_one_counts(gateway: Gateway, upstream: Upstream) -> None:
    soon, later = int(time.time()) + 3600, int(time.time()) + 400_000
    windows = said(primary=(100, 300, soon), secondary=(100, 10_080, later))
    marker = upstream.play({"failure": {"name": "usage_limit_reached", "headers": windows}})
    assert int(spent(gateway, marker).headers["Retry-After"]) > 390_000


def test_without_windows_the_time_in_codexs_sentence_is_used(
    gateway: Gateway, upstream: Upstream
) -> None:
    hear_of_room(gateway, upstream)
    marker = upstream.play({"failure": "usage_limit_reached"})  # its body says the year 2100
    answer = spent(gateway, marker)
    assert "It starts again at 2100-01-01T00:01:00Z." in answer.json()["error"]["message"]
    assert int(answer.headers["Retry-After"]) > 365 * 86_400


def test_without_any_time_none_is_made_up(gateway: Gateway, upstream: Upstream) -> None:
    hear_of_room(gateway, upstream)
    answer = spent(gateway, upstream.play({"failure": "insufficient_quota"}))
    assert "starts again" not in answer.json()["error"]["message"]
    assert "Retry-After" not in answer.headers


def test_the_accounts_rate_limit_is_told_apart_from_the_keys(
    gateway: Gateway, upstream: Upstream
) -> None:
    answer = gateway.post(ask(upstream.play({"failure": "rate_limited"})))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "rate_limit_exceeded")
    assert error["type"] == "rate_limit_error"
    assert "not this gateway's limit for your key" in error["message"]
    line = line_of(gateway, answer)
    assert line["error_code"] == "rate_limit_exceeded"
    assert "limited_by" not in line
