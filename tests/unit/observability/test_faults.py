"""Whose fault an error is: the table in the code against the page about metrics, which is held to the dashboard."""

from __future__ import annotations

import re

from app.observability import labels
from app.observability.faults import CLIENTS, FAULTS, fault_of
from app.settings import ROOT


def test_the_faults_are_those_of_the_page_about_metrics() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text().split("| Fault | Error codes |")[1]
    rows = re.findall(r"^\| (\w+) \| (.+) \|$", page.split("\n\n")[0], re.MULTILINE)
    assert [fault for fault, _ in rows] == list(FAULTS)
    told = {code: fault for fault, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert {code: fault_of(code) for code in told} == told
    assert {fault_of(code) for code in labels.CODES - set(told)} == {CLIENTS}
    assert fault_of(labels.OTHER) == CLIENTS
