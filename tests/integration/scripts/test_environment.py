"""`scripts/environment.sh` with Pythons that are played: which one it takes, and what it says where none will do."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT

GOOD = """#!/bin/sh
echo "$0 $*" >> calls
case "$*" in
*venv*) {venv} ;;
*pip*-r*) {pip} ;;
esac
"""
OLD = """#!/bin/sh
case "$2" in *print*) echo 3.9.18 ;; *) exit 1 ;; esac
"""
BROKEN = "#!/bin/sh\nexit 127\n"
TOOLS = ("sh", "cat", "cp", "mkdir", "touch", "rm", "chmod")
MAKES_IT = 'mkdir -p "$3/bin" && cp "$0" "$3/bin/python"'


@dataclass
class Machine:
    """A folder with requirements, and a PATH with the tools of the script and these Pythons."""

    folder: Path

    def put(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def put_good(self, name: str = "python3", venv: str = MAKES_IT, pip: str = ":") -> None:
        self.put(name, GOOD.format(venv=venv, pip=pip))

    def run(self, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", str(ROOT / "scripts" / "environment.sh"), ".venv", "requirements.txt"],
            cwd=self.folder,
            env={"PATH": str(self.folder / "bin"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def installs(self) -> int:
        calls = self.folder / "calls"
        return calls.read_text().count(" -r ") if calls.exists() else 0

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "bin").mkdir()
    (tmp_path / "requirements.txt").write_text("flask==1\n")
    for tool in TOOLS:
        found = next(
            Path(folder) / tool
            for folder in os.environ["PATH"].split(":")
            if (Path(folder) / tool).exists()
        )
        (tmp_path / "bin" / tool).symlink_to(found)
    return Machine(tmp_path)


def test_a_python_that_is_too_old_is_named_and_nothing_is_made(machine: Machine) -> None:
    machine.put("python3", OLD)
    code, said = machine.run()
    assert code == 1
    assert said.startswith("Python 3.11 or newer is needed; found: python3 is Python 3.9.18. ")
    assert not machine.venv.exists()


def test_a_machine_without_python_is_told_so(machine: Machine) -> None:
    code, said = machine.run()
    assert code == 1
    assert said.startswith("Python 3.11 or newer is needed; found: none. ")


def test_one_that_was_asked_for_is_the_only_one_that_will_do(machine: Machine) -> None:
    machine.put_good()
    machine.put("python3.9", OLD)
    code, said = machine.run(PYTHON="python3.9")
    assert (code, "python3.9 is Python 3.9.18" in said) == (1, True)


def test_the_first_that_works_makes_the_environment(machine: Machine) -> None:
    machine.put("python3.11", BROKEN)
    machine.put("python3", OLD)
    machine.put_good("python3.12")
    assert machine.run() == (0, "Installing requirements.txt into .venv ...\n")
    assert "python3.12 -m venv .venv" in (machine.folder / "calls").read_text()


def test_what_is_installed_is_installed_once(machine: Machine) -> None:
    machine.put_good()
    assert machine.run()[0] == 0
    assert machine.run() == (0, "")
    assert machine.installs == 1
    (machine.folder / "requirements.txt").write_text("flask==2\n")
    assert machine.run()[0] == 0
    assert machine.installs == 2


def test_an_install_that_fails_is_tried_again(machine: Machine) -> None:
    machine.put_good(pip="echo 'ERROR: no network' >&2; exit 1")
    for count in (1, 2):
        code, said = machine.run()
        assert code == 1
        assert "ERROR: no network\nrequirements.txt could not be installed" in said
        assert machine.installs == count


def test_an_environment_that_cannot_be_made_leaves_nothing(machine: Machine) -> None:
    machine.put_good(venv="mkdir -p .venv/bin; exit 1")
    code, said = machine.run()
    assert (code, "could not make .venv" in said) == (1, True)
    assert not machine.venv.exists()


def test_one_of_a_python_that_is_gone_is_made_anew(machine: Machine) -> None:
    machine.put_good()
    machine.run()
    (machine.venv / "bin" / "python").write_text(OLD)
    code, said = machine.run()
    assert code == 0
    assert said.startswith(".venv has a Python 3.9.18, or is not whole: it is made anew.\n")
    assert machine.installs == 2


def test_it_stays_where_no_python_could_make_another(machine: Machine) -> None:
    machine.put_good()
    machine.run()
    for name in (".venv/bin/python", "bin/python3"):
        (machine.folder / name).write_text(OLD)
    assert machine.run()[0] == 1
    assert machine.venv.exists()


def test_one_that_was_made_by_hand_is_left_alone(machine: Machine) -> None:
    machine.put_good()
    (machine.venv / "bin").mkdir(parents=True)
    python = machine.venv / "bin" / "python"
    python.write_text(OLD)
    python.chmod(0o755)
    code, said = machine.run()
    assert (code, machine.installs) == (1, 0)
    assert said.startswith(".venv has a Python 3.9.18; 3.11 or newer with pip is needed.")
    assert python.read_text() == OLD
