"""What `make run` does once the requirements are installed: a key, a promise that holds, or a sentence instead."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from tests.e2e.harness import DEADLINE_S, ROOT, wait_until

PIECES = ("app", "scripts", "scripted_upstream")
SERVICE = ("-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app")


@dataclass
class Checkout:
    """A stranger's checkout in a folder with a space, where nothing has run yet."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    @property
    def log_path(self) -> Path:
        return self.folder / "output"

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "scripts/first_run.py", *SERVICE],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def refusal(self, **settings: str) -> str:
        """Return what a start says that fails before it has begun."""
        assert self.start(**settings).wait(DEADLINE_S) == 1
        return self.log_path.read_text()

    def invitation(self) -> str:
        """Return what is printed last, once it is whole."""

        def find() -> str | None:
            assert self.process is not None
            assert self.process.poll() is None, self.log_path.read_text()
            text = self.log_path.read_text()
            return text[text.index("\ncurl ") :] if text.endswith("}'\n\n") else None

        return str(wait_until(find, "the invitation", 60))

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(DEADLINE_S)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    folder = tmp_path / "a folder"
    folder.mkdir()
    for name in PIECES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("wsgi.py", "gunicorn.conf.py", ".env.example"):
        shutil.copy(ROOT / name, folder / name)
    found = Checkout(folder)
    yield found
    found.end()


def test_the_example_becomes_a_configuration_and_the_last_line_can_be_pasted(
    checkout: Checkout,
) -> None:
    shutil.copy(checkout.folder / ".env.example", checkout.env_file)
    process = checkout.start(PORT="0")
    words = shlex.split(checkout.invitation())
    key = re.search(r"^PROXY_API_KEY=(sk-local-.+)$", checkout.env_file.read_text(), re.MULTILINE)
    assert key is not None
    assert stat.S_IMODE(checkout.env_file.stat().st_mode) == 0o600
    changed = set(checkout.env_file.read_text().splitlines())
    example = set((ROOT / ".env.example").read_text().splitlines())
    assert changed ^ example == {"PROXY_API_KEY=", key[0]}
    url = next(word for word in words if word.startswith("http://127.0.0.1:"))
    answer = requests.post(
        url,
        data=words[-1],
        headers=dict(word.split(": ") for word in words if ": " in word and word != words[-1]),
        timeout=DEADLINE_S,
    )
    assert answer.text.endswith("data: [DONE]\n\n")
    wait_until(lambda: not strangers(process.pid), "nobody of make's waits any more")
    assert key[1] not in checkout.log_path.read_text().partition("\ncurl ")[0]


def strangers(service: int) -> list[psutil.Process]:
    """Return the living processes of the service's session that are neither it nor below it."""
    family = {service}
    if psutil.pid_exists(service):
        family |= {each.pid for each in psutil.Process(service).children(recursive=True)}
    return [
        each
        for each in psutil.process_iter()
        if each.pid not in family and is_of_session(each, service)
    ]


def is_of_session(process: psutil.Process, leader: int) -> bool:
    try:
        return os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def test_a_start_that_cannot_be_promises_nothing(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = checkout.refusal(PORT=port)
    assert said.splitlines()[1].startswith(f"PORT: {port} is taken by ")
    assert "curl" not in said
    key = checkout.env_file.read_text()
    said = checkout.refusal(CODEX_HOME=".env")
    assert said == "CODEX_HOME must be a folder: it, or something above it, is a file.\n"
    assert checkout.refusal(PORT="x") == "PORT must be a whole number from 0 to 65535.\n"
    assert checkout.env_file.read_text() == key


def test_a_second_one_in_the_same_place_is_told_of_the_first(checkout: Checkout) -> None:
    first = checkout.start(PORT="0")
    checkout.invitation()
    try:
        said = checkout.refusal(PORT="0")
    finally:
        os.killpg(first.pid, signal.SIGTERM)
        first.wait(DEADLINE_S)
    assert said.startswith(f"A gateway with this CODEX_HOME runs already (pid {first.pid}).")


def test_a_service_that_ends_at_once_leaves_no_invitation(checkout: Checkout) -> None:
    (checkout.folder / "wsgi.py").write_text("raise SystemExit(4)\n")
    process = checkout.start(PORT="0")
    assert process.wait(DEADLINE_S) != 0
    wait_until(lambda: not strangers(process.pid), "nobody waits any more")
    assert "curl" not in checkout.log_path.read_text()
