"""Alerts and dashboard in a real Prometheus that scrapes the real gateway. Needs the Debian package prometheus."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, ask, wait_until
from tests.e2e.mix import Mix
from tests.e2e.monitoring import (
    PROMETHEUS,
    alerts,
    panel_expressions,
    runbook_expressions,
    without_thresholds,
)
from tests.e2e.prometheus import Prometheus
from tests.e2e.scrape import scrape, total

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TOKEN = "metrics-token-0123456789"


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = ["promtool", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


# Files


def test_promtool_takes_the_rules_and_the_sample_configurations() -> None:
    for arguments in (
        ("check", "rules", str(PROMETHEUS / "alerts.yml")),
        ("check", "config", "--syntax-only", str(PROMETHEUS / "prometheus.yml")),
        ("check", "config", "--syntax-only", str(PROMETHEUS / "prometheus.compose.yml")),
    ):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    done = promtool("test", "rules", str(PROMETHEUS / "alerts.test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", alerts())
def test_that_test_notices_an_alert_that_never_fires(name: str, tmp_path: Path) -> None:
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    for rule in rules["groups"][1]["rules"]:
        if rule["alert"] == name:
            rule["expr"] = "vector(0) > 1"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    tests = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())
    tests["tests"] = [
        test
        for test in tests["tests"]
        if f'"{name}"' in json.dumps(test, default=str).replace('\\"', '"')
    ]
    (tmp_path / "alerts.test.yml").write_text(yaml.safe_dump(tests))
    done = promtool("test", "rules", str(tmp_path / "alerts.test.yml"))
    assert done.returncode != 0
    assert name in done.stdout + done.stderr


def test_promtool_finds_nothing_in_a_scrape_but_our_milliseconds(
    gateway: Gateway, upstream: Upstream
) -> None:
    """The founding documents name `codex_worker_latency_ms`, so every time of ours is in milliseconds."""
    gateway.post(ask(upstream.say("a"), stream=True, temperature=0.5))
    text = gateway.get("/metrics").text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    said = promtool("check", "metrics", given=text)
    complaint = "metric names should not contain abbreviated units"
    expected = {f"{name} {complaint}" for name in names if name.endswith("_ms")}
    assert set(filter(None, (said.stdout + said.stderr).splitlines())) == expected
    assert len(expected) == 7


# A Prometheus that scrapes


def hurried(folder: Path, gateway: Gateway) -> Path:
    """Write the files of docker/ with another address, every second, and without patience; return the first."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{gateway.port}"]}]
    job["authorization"]["credentials_file"] = str(folder / "token")
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
    return folder / "prometheus.yml"


def knows(prometheus: Prometheus, gateway: Gateway) -> Callable[[], bool]:
    """Say whether what the gateway has counted until now has been scraped, and the rules have seen it."""
    scraper = Scraper(gateway.process, gateway.home, gateway.log_path, gateway.port)
    counted = total(scrape(scraper), "codex_http_requests_total", method="POST")
    wanted = f'sum(codex_http_requests_total{{method="POST"}}) >= {counted:.0f}'
    seen = f'sum(sum_over_time(codex_http_requests_total{{method="POST"}}[3s])) and {wanted}'
    return lambda: bool(prometheus.ask(seen) and prometheus.ask("codex:answers:share5m"))


class Scraper(Gateway):
    """The same gateway, seen with the key that only opens the metrics."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def watched(make_gateway: Any) -> Gateway:
    gateway: Gateway = make_gateway(
        PROXY_METRICS_TOKEN=TOKEN,
        PROXY_SSE_KEEPALIVE_MS="50",
        WORKER_MAX_CONCURRENCY="16",
        WORKER_QUEUE_TIMEOUT_MS="1000",
        WORKER_REQUEST_TIMEOUT_MS="8000",
        WORKER_BACKOFF_INITIAL_MS="250",
        WORKER_BACKOFF_MAX_MS="250",
        PROXY_HEAD_TIMEOUT_MS="5000",
    )
    return gateway


@pytest.fixture
def prometheus(tmp_path: Path, watched: Gateway) -> Iterator[Prometheus]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    running = Prometheus(hurried(folder, watched))
    try:
        running.wait_ready()
        wait_until(lambda: running.ask("codex_worker_ready"), "the first scrape")
        yield running
    finally:
        running.close()


class Trouble:
    """What operators are told of: each method provokes one kind, several times over."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self._gateway = gateway
        self._upstream = upstream

    def upstream_is_silent(self) -> None:
        marker = self._upstream.play({"failure": "hang_before_headers"})
        answers = self._at_once(8, ask(marker))
        assert {answer.status_code for answer in answers} == {504}

    def every_turn_is_taken(self) -> None:
        with self._held(16):
            answers = self._at_once(8, ask("nobody gets to see this"))
        assert {answer.json()["error"]["code"] for answer in answers} == {"WORKER_BUSY"}
        idle = lambda: self._gateway.get("/healthz").json()["child"]["running"] == 0  # noqa: E731
        wait_until(idle, "every turn was given back")

    def child_dies_under_streams(self) -> None:
        with self._held(8) as streams:
            self._gateway.child().kill()
            ends = ["".join(stream) for stream in streams]
        assert all("WORKER_UNAVAILABLE" in end for end in ends)
        # Not /readyz: after a refused login that waits for an answer, too.
        marker = self._upstream.say("back")
        served = lambda: self._gateway.post(ask(marker)).status_code == 200  # noqa: E731
        wait_until(served, "the next child serves")

    def account_is_nearly_spent(self) -> None:
        said = {
            "x-codex-primary-used-percent": "95",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": str(int(time.time()) + 3600),
        }
        marker = self._upstream.say("the last but one", headers=said)
        assert self._gateway.post(ask(marker)).status_code == 200
        heard = lambda: self._gateway.get("/healthz").json()["account_limits"]  # noqa: E731
        wait_until(heard, "the gateway has heard of it")

    @contextmanager
    def heads_are_begun(self) -> Iterator[None]:
        """Connections with the beginning of a request; at the end all of them have been cut."""
        address = ("127.0.0.1", self._gateway.port)
        with ExitStack() as stack:
            opened = [
                stack.enter_context(socket.create_connection(address, DEADLINE_S))
                for _ in range(150)
            ]
            for connection in opened:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: slow")
            yield
            for connection in opened:
                while connection.recv(4096):
                    pass

    def wrong_keys(self) -> None:
        for _ in range(40):
            assert self._gateway.get("/v1/models", key=False).status_code == 401

    @contextmanager
    def _held(self, count: int) -> Iterator[list[Iterator[str]]]:
        """Open streams that have shown something and do not end; yield what comes after that."""
        script = {"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]}
        body = ask(self._upstream.play(script), stream=True)
        with ThreadPoolExecutor(count) as pool:
            opened = list(pool.map(lambda _: self._gateway.post(body, stream=True), range(count)))
        streams = [answer.iter_lines(decode_unicode=True) for answer in opened]
        for stream in streams:
            assert next(line for line in stream if '"content":"a"' in line)
        yield streams
        for answer in opened:
            answer.close()

    def _at_once(self, count: int, body: Any) -> list[requests.Response]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(self._gateway.post, [body] * count))

    def all_of_it(self) -> None:
        self.upstream_is_silent()
        self.every_turn_is_taken()
        self.child_dies_under_streams()
        self.account_is_nearly_spent()
        self.wrong_keys()


LIVE = {
    "CodexAccountNearlySpent",
    "CodexChildDegraded",
    "CodexChildRestarting",
    "CodexClientsLeaving",
    "CodexConnectionsCut",
    "CodexGatewayFailing",
    "CodexGatewayNotReady",
    "CodexKeysRefused",
    "CodexLoginLost",
    "CodexQuotaExhausted",
    "CodexRequestsTurnedAway",
    "CodexStreamsFailing",
    "CodexUpstreamFailing",
    "CodexUpstreamRateLimits",
    "CodexUpstreamSilent",
}
"""The others need minutes of patience or a defect; promtool's tests have them."""


def test_after_a_mix_every_panel_and_every_alert_has_data_and_what_was_provoked_fires(
    watched: Gateway, upstream: Upstream, prometheus: Prometheus
) -> None:
    mix, trouble = Mix(watched, upstream), Trouble(watched, upstream)
    mix.run(len(mix.kinds))
    trouble.all_of_it()
    wait_until(knows(prometheus, watched), "the first round is scraped")

    mix.run(6 * len(mix.kinds))
    with trouble.heads_are_begun():
        trouble.all_of_it()
        for _ in range(5):
            trouble.child_dies_under_streams()
    wait_until(lambda: prometheus.fired() >= LIVE, f"all of {sorted(LIVE)} fired")
    # Before its first scrape Prometheus knows of no gateway at all.
    assert prometheus.fired() - {"CodexGatewayDown"} == LIVE
    assert "CodexGatewayDown" not in prometheus.firing()

    for title, expr in panel_expressions("5m", ".*"):
        assert prometheus.ask(expr), f"panel {title} shows nothing: {expr}"
    for name, alert in alerts().items():
        assert prometheus.ask(without_thresholds(alert["expr"])), f"{name} has nothing to look at"

    for expr in runbook_expressions():
        prometheus.ask(expr)

    set_maintenance(watched, enabled=True)
    wait_until(lambda: "CodexMaintenanceTooLong" in prometheus.firing(), "maintenance is noticed")
    set_maintenance(watched, enabled=False)
    wait_until(lambda: "CodexMaintenanceTooLong" not in prometheus.firing(), "its end, too")

    watched.stop()
    wait_until(lambda: "CodexGatewayDown" in prometheus.firing(), "its absence is noticed")
    assert_annotations_are_filled_in(prometheus)


def set_maintenance(gateway: Gateway, *, enabled: bool) -> None:
    url = f"{gateway.url}/internal/maintenance"
    answer = requests.post(
        url, json={"enabled": enabled}, headers=gateway.headers, timeout=DEADLINE_S
    )
    assert answer.json()["enabled"] is enabled


def assert_annotations_are_filled_in(prometheus: Prometheus) -> None:
    for alert in prometheus.get("alerts")["alerts"]:
        said = json.dumps(alert["annotations"])
        assert "{{" not in said
        assert "error" not in alert["annotations"]["summary"] or "error frame" in said
        assert "<no value>" not in said
