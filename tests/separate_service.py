"""Service for a suite that has an environment of its own: a process with the project's, as long as the suite runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def running(script: Path) -> Iterator[dict[str, str]]:
    """Run a script that prints one JSON line and serves until its standard input ends; yield what it printed."""
    process = subprocess.Popen(
        [ROOT / ".venv" / "bin" / "python", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait(60) == 0
