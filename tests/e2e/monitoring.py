"""The alerts and the dashboard under docker/, as tests read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "docker" / "prometheus"
RUNBOOK = ROOT / "docs" / "runbooks" / "operational.md"
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
