"""First minute of a newcomer, in terminals in a fresh copy of the checkout: `make run`, then curl, then `codex ask`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.pictures.recording import COLUMNS, Pane, Written
from scripts.pictures.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
_ASK = ".venv/bin/flask --app wsgi codex ask 'Who answers here?'"
_READING_S = 1.0
"""How long a person looks before the next command."""


@dataclass(frozen=True, slots=True)
class FirstMinute:
    """What was seen in both terminals, and where the gateway of the first one still serves."""

    panes: tuple[Pane, Pane]
    url: str
    key: str


@contextmanager
def done(folder: Path) -> Iterator[FirstMinute]:
    """Do it in an empty folder; the gateway serves until the end. The environment is the checkout's own."""
    _copy(folder)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }
    served = [Written(time.monotonic(), "$ make run\n")]
    # What is made before everything else is there already.
    gateway = Terminal(["make", "-o", "run-environment", "run"], folder, environment, COLUMNS)
    try:
        gateway.wait_for("}]}'")
        text = gateway.text().replace("\r", "")
        command = "curl -N " + text.partition("\ncurl -N ")[2].rstrip()
        asked: list[Written] = []
        for line in (command, _ASK):
            time.sleep(_READING_S)
            asked.append(Written(time.monotonic(), "$ " + line.replace("\n", "\n> ") + "\n"))
            client = Terminal(["sh", "-c", line], folder, environment, COLUMNS)
            client.wait()
            asked += client.written
        asked.append(Written(time.monotonic(), "$ "))
        time.sleep(_READING_S)  # the log of the last request
        panes = (
            Pane("One terminal", 15, [*served, *gateway.written]),
            Pane("Another one, in the same folder", 17, asked),
        )
        address, key = re.findall(r"http://[\w.:]+|sk-local-[\w-]+", command)
        yield FirstMinute(panes, address, key)
    finally:
        gateway.end()


def _copy(folder: Path) -> None:
    """Copy what git knows of, as it is now; the environment is linked."""
    git = shutil.which("git") or "git"
    names = subprocess.run(
        [git, "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
