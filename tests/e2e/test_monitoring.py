"""Alerts and dashboard in a real Prometheus that scrapes the real gateway. Needs the Debian package prometheus."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, ask, wait_until
from tests.e2e.mix import Mix
from tests.e2e.monitoring import (
    METRICS_TOKEN,
    PROMETHEUS,
    alerts,
    hurried,
    knows,
    panel_expressions,
    runbook_expressions,
    without_thresholds,
)
from tests.e2e.prometheus import Prometheus
from tests.e2e.trouble import Trouble

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


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


@pytest.fixture
def watched(make_gateway: Any) -> Gateway:
    gateway: Gateway = make_gateway(
        PROXY_METRICS_TOKEN=METRICS_TOKEN,
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
