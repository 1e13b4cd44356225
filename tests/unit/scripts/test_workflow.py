"""The workflow runs what a person types: the same targets, with the same packages."""

from __future__ import annotations

import re

import yaml

from tests.e2e.harness import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
JOB = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text())["jobs"]["checks"]


def test_its_targets_are_those_of_the_makefile() -> None:
    matrix = JOB["strategy"]["matrix"]
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(matrix["target"]) <= targets
    # What a change must pass before it lands is all there.
    landing = re.findall(r"^make (.*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert set(landing[0].split()) <= set(matrix["target"])
    assert matrix["python"] == ["3.11", "3.12", "3.13"]


def test_its_packages_are_those_of_the_makefile() -> None:
    (ours,) = re.findall(r"--no-install-recommends \\\n\s+(.*)\)$", MAKEFILE, re.MULTILINE)
    (step,) = [step["run"] for step in JOB["steps"] if "apt-get install" in step.get("run", "")]
    theirs = step.split("--no-install-recommends")[1].replace("\\", " ").split()
    assert set(ours.split()) - {"systemd"} == set(theirs)
