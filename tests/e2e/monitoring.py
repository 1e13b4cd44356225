"""The alerts and the dashboard under docker/, as tests read them, and the configuration of a Prometheus in a hurry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.harness import Gateway
from tests.e2e.prometheus import Prometheus
from tests.e2e.scrape import scrape, total

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "docker" / "prometheus"
RUNBOOK = ROOT / "docs" / "runbooks" / "operational.md"
METRICS_TOKEN = "metrics-token-0123456789"
DASHBOARD = ROOT / "docker" / "grafana" / "dashboards" / "codex-gateway.json"


def rules() -> list[dict[str, Any]]:
    """Return every rule: alerts and records."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def runbook_expressions() -> list[str]:
    """Return what the runbook asks Prometheus for."""
    return re.findall(r"promtool query instant \$PROM '([^']+)'", RUNBOOK.read_text())


def without_thresholds(expr: str) -> str:
    """Return an alert's expression with comparisons that say 0 or 1 where they would leave nothing."""
    return re.sub(r" (>|<|==) (?=[\d.]+\b)", r" \1 bool ", expr)


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """Return every panel that shows something; headings of rows do not."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_expressions(window: str, everything: str) -> Iterator[tuple[str, str]]:
    """Every query as Grafana would send it: `window` for its intervals, `everything` for its filters."""
    for panel in panels():
        for target in panel["targets"]:
            expr = re.sub(r"\$__(rate_interval|range)", window, target["expr"])
            yield panel["title"], re.sub(r"\$(job|instance)", everything, expr)


def hurried(folder: Path, gateway: Gateway) -> Path:
    """Write the files of docker/ with another address, every second, and without patience; return the first."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{gateway.port}"]}]
    job["authorization"]["credentials_file"] = str(folder / "token")
    (folder / "token").write_text(METRICS_TOKEN + "\n")
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
        return {"Authorization": f"Bearer {METRICS_TOKEN}"}
