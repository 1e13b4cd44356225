"""Service for a suite that has an environment of its own: a process with the project's, as long as the suite runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def started(script: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a script that serves until its standard input ends; it must end well then."""
    process = subprocess.Popen(
        [ROOT / ".venv" / "bin" / "python", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    with process:
        yield process
        process.stdin.close()
        assert process.wait(60) == 0


@contextmanager
def running(script: Path) -> Iterator[dict[str, str]]:
    """Run such a script; yield the JSON line that it prints first."""
    with started(script) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


class Remote:
    """The commands of such a script, called in its process. `facts` is the JSON line that it prints first."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self.facts: dict[str, str] = json.loads(self._stdout.readline())

    def __call__(self, command: str, **arguments: Any) -> Any:
        self._stdin.write(json.dumps([command, arguments]) + "\n")
        self._stdin.flush()
        return json.loads(self._stdout.readline())
