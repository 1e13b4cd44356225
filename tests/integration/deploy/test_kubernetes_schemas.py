"""Manifests of deploy/kubernetes against the schemas of Kubernetes: of the oldest version they are for, and a new."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT

pytestmark = pytest.mark.system

PROGRAM = ROOT / ".venv-neighbours" / "bin" / "kubernetes-validate"
FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS = sorted(p for p in FOLDER.rglob("*.yaml") if p.name != "kustomization.yaml")


def validate(path: Path, version: str) -> subprocess.CompletedProcess[str]:
    """Refuses what is not of the right type, and what no field is called."""
    command = [str(PROGRAM), "--strict", "-k", version, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", ["1.27", "1.37"])
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_manifest_is_what_its_kind_has(path: Path, version: str) -> None:
    done = validate(path, version)
    kinds = path.read_text().count("\nkind: ")
    assert (done.returncode, done.stdout.count(" passed for resource ")) == (0, kinds), done.stdout


@pytest.mark.parametrize("new", ["readinessProbes:", "readinessProbe:\n            path: /readyz"])
def test_a_field_that_there_is_not_is_refused(new: str, tmp_path: Path) -> None:
    text = (FOLDER / "base" / "workload.yaml").read_text()
    assert "readinessProbe:" in text
    (tmp_path / "workload.yaml").write_text(text.replace("readinessProbe:", new))
    assert validate(tmp_path / "workload.yaml", "1.37").returncode == 1
