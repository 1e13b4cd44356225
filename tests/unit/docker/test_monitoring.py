"""Alerts and dashboard against the code and the runbook: what they name exists, and what exists is shown."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from app import errors
from app.observability import labels
from app.observability.gauges import Gauges
from app.observability.metrics import Metrics
from app.settings import VARIABLES
from tests.e2e.monitoring import (
    PROMETHEUS,
    ROOT,
    RUNBOOK,
    alerts,
    dashboard,
    panel_expressions,
    panels,
    rules,
    runbook_expressions,
)

FAULTS = {"gateway", "upstream", "account", "load", "clients", "operator"}
EXPRESSIONS = [(rule.get("alert", rule.get("record")), rule["expr"]) for rule in rules()]
PANELS = list(panel_expressions("5m", ".*"))
BY_TITLE = {panel["title"]: panel for panel in panels()}


def series() -> set[str]:
    """Every name of a series that the registry makes."""
    everything = Metrics()
    Gauges(everything, lambda: pytest.fail("nothing is read"))
    return set(everything.registry._names_to_collectors)


def shown(name: str, label: str) -> set[str]:
    """Every value of a label that the registry shows from the beginning."""
    return {
        sample.labels[label]
        for family in Metrics().registry.collect()
        for sample in family.samples
        if sample.name == name
    }


SERIES = series()
RECORDS = {rule["record"] for rule in rules() if "record" in rule}


def names(expr: str) -> set[str]:
    return set(re.findall(r"\bcodex[_:][a-z0-9_:]+", expr))


# Alerts


@pytest.mark.parametrize(("name", "expr"), [*EXPRESSIONS, *PANELS])
def test_what_is_asked_for_exists(name: str, expr: str) -> None:
    asked = names(expr)
    assert asked <= SERIES | RECORDS
    assert asked or re.search(r"\b(up|ALERTS)\{", expr), name


@pytest.mark.parametrize(("name", "expr"), [*EXPRESSIONS, *PANELS])
def test_values_of_labels_that_are_asked_for_can_occur(name: str, expr: str) -> None:
    known = {
        "code": labels.CODES | {labels.NONE, labels.OTHER, labels.KEY_RATE_LIMITED},
        "outcome": {*labels.OUTCOMES, "abandoned", "interrupted"},
        "queue": shown("codex_overflows_total", "queue"),
        "reason": shown("codex_connections_cut_total", "reason")
        | shown("codex_worker_replacements_total", "reason"),
        "kind": {"prompt", "cached", "completion", "reasoning"},
    }
    for label, values in known.items():
        for found in re.findall(rf'\b{label}!?=~?"([^"]*)"', expr):
            assert set(found.split("|")) <= values, name


@pytest.mark.parametrize("alert", alerts().values(), ids=alerts())
def test_an_alert_says_how_bad_it_is_whose_fault_and_where_to_read_on(alert: Any) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["labels"]["fault"] in FAULTS
    for name in ("summary", "description"):
        assert re.fullmatch(r"[A-Z/{1-9].*\.", alert["annotations"][name])
    anchor = alert["alert"].lower()
    assert alert["annotations"]["runbook"] == f"docs/runbooks/operational.md#{anchor}"


def entries() -> dict[str, str]:
    """The runbook's entries that are named as an alert is, with their text."""
    found = re.split(r"^#{2,3} (.+)$", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    pairs = zip(found[::2], found[1::2], strict=True)
    return {name: text for name, text in pairs if name.startswith("Codex")}


def test_every_alert_has_an_entry_in_the_runbook_and_every_entry_its_alert() -> None:
    assert list(entries()) == list(alerts())


def test_what_the_runbook_asks_prometheus_for_exists() -> None:
    asked = runbook_expressions()
    assert len(asked) > 5
    for expr in asked:
        assert names(expr) <= SERIES | RECORDS, expr


def test_the_page_about_metrics_says_whose_fault_each_code_is_as_the_dashboard_does() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = dict(
        re.findall(r"^\| (upstream|account|gateway|load|operator) \| (.+) \|$", page, re.MULTILINE)
    )
    for target in BY_TITLE["Whose fault"]["targets"]:
        if target["legendFormat"] in rows:
            (codes,) = re.findall(r'code=~"([^"]*)"', target["expr"])
            assert re.findall(r"`(\w+)`", rows.pop(target["legendFormat"])) == codes.split("|")
    assert rows == {}


@pytest.mark.parametrize("name", alerts())
def test_an_entry_has_its_four_parts_in_order(name: str) -> None:
    text = entries()[name]
    assert re.findall(r"^\*\*(\w+)\*\*:", text, re.MULTILINE) == [
        "Symptoms",
        "Causes",
        "Checks",
        "Fixes",
    ]


def test_every_alert_is_provoked_in_the_tests_for_promtool() -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
    fires = {
        match[1]
        for test in tests
        for step in test["promql_expr_test"]
        for sample in step["exp_samples"]
        if (match := re.search(r'alertname="(\w+)"', sample["labels"]))
    }
    assert fires == set(alerts())


def test_the_sample_configuration_names_the_job_that_the_alerts_know() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert f'up{{job="{job["job_name"]}"}} == 0' in alerts()["CodexGatewayDown"]["expr"]
    assert config["rule_files"] == ["alerts.yml"]
    assert "credentials" not in job["authorization"], "a token is in a file of its own"


# The dashboard


def test_every_metric_has_a_panel() -> None:
    shown = {name for _, expr in PANELS for name in names(expr)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert families == {
        name for name in SERIES if not re.search(r"_(bucket|count|sum|created)$", name)
    } - {name.removesuffix("_total") for name in SERIES if name.endswith("_total")}


@pytest.mark.parametrize("panel", panels(), ids=list(BY_TITLE))
def test_a_panel_explains_itself_and_takes_the_chosen_data_source(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(s == {"type": "prometheus", "uid": "${datasource}"} for s in sources)
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        assert target["expr"].count('job=~"$job') == target["expr"].count('instance=~"$instance')
        assert 'job=~"$job' in target["expr"]


def test_a_threshold_is_where_the_alert_has_it() -> None:
    for title, alert in (
        ("Time to first token", "CodexFirstTokenSlow"),
        ("Handshake", "CodexHandshakeSlow"),
        ("Account used", "CodexAccountNearlySpent"),
    ):
        (_, step) = BY_TITLE[title]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert f"> {step['value']}" in alerts()[alert]["expr"]


def test_a_child_is_large_near_the_limit_that_is_the_default() -> None:
    defaults = {variable.metadata["name"]: variable.metadata["default"] for variable in VARIABLES}
    default = int(defaults["WORKER_MEMORY_LIMIT_BYTES"])
    assert alerts()["CodexChildLarge"]["expr"].endswith(f"> 0.9 * {default}")
    (_, step) = BY_TITLE["Memory of the child"]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert step["value"] == default


def test_whose_fault_it_is_is_decided_for_every_code() -> None:
    targets = BY_TITLE["Whose fault"]["targets"]
    codes = {t["legendFormat"]: re.search(r'code(?:=|!)~"([^"]*)"', t["expr"]) for t in targets}
    decided = {who: set(match[1].split("|")) for who, match in codes.items() if match}
    *others, clients = decided.values()
    assert list(decided) == ["upstream", "account", "gateway", "load", "operator", "clients"]
    assert set(decided) == FAULTS
    assert not any(a & b for a, b in combinations(others, 2))
    assert clients == set().union({labels.NONE}, *others)
    callers = {
        found.default_code
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.InvalidRequest)
    }
    # What nobody has decided about is shown as the clients'; a new code has to be put somewhere.
    rest = labels.CODES - clients
    assert rest == callers | (labels._FINER_CODES - {"BODIES_FULL", "PROMPTS_FULL"}) | {
        "SLOW_READER"
    }


def test_panels_do_not_lie_on_each_other() -> None:
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in everything)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_dashboard_can_be_provisioned() -> None:
    found = dashboard()
    assert found["id"] is None, "Grafana gives it one"
    assert (found["uid"], found["schemaVersion"]) == ("codex-gateway", 42)
    kinds = {variable["name"]: variable["type"] for variable in found["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "job": "query", "instance": "query"}
    provisioning = ROOT / "docker" / "grafana" / "provisioning"
    for file in provisioning.rglob("*.yml"):
        assert yaml.safe_load(file.read_text())["apiVersion"] == 1
