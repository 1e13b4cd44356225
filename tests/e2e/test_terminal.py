"""The log at a terminal, on which a person reads it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from app.cli.running_gateway import listening_ports
from app.settings import VARIABLES
from tests.e2e.harness import DEADLINE_S, KEY, ROOT, Upstream, ask, wait_until


class Terminal:
    """A gateway whose standard output is a terminal; what it prints is read until it ends."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        ours, theirs = pty.openpty()
        nothing = {variable.metadata["name"]: "" for variable in VARIABLES}
        own = {"PROXY_API_KEY": KEY, "PORT": "0", "CODEX_HOME": str(folder / "codex-home")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
            cwd=ROOT,
            env=nothing
            | own
            | {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
            | {"CODEX_UPSTREAM_URL": upstream.url, "CODEX_UPSTREAM_API_KEY": "k", "NO_COLOR": "1"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._printed = bytearray()
        self._reader = threading.Thread(target=self._read, args=(ours,))
        self._reader.start()
        service = psutil.Process(self.process.pid)
        (port,) = wait_until(lambda: listening_ports(service), "it listens")
        self.url = f"http://127.0.0.1:{port}"
        wait_until(
            lambda: requests.get(f"{self.url}/readyz", timeout=DEADLINE_S).ok, "it is ready", 60
        )

    def _read(self, ours: int) -> None:
        try:
            while select.select([ours], [], [])[0]:
                self._printed += os.read(ours, 65536)
        except OSError:  # everybody has closed the other end
            os.close(ours)

    def stop(self) -> list[str]:
        """End the gateway; return every line that it has printed."""
        self.process.terminate()
        assert self.process.wait(DEADLINE_S) == 0
        self._reader.join(DEADLINE_S)
        return self._printed.decode().splitlines()


@pytest.fixture
def terminal(tmp_path: Path, upstream: Upstream) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, upstream)
    yield terminal
    if terminal.process.poll() is None:
        terminal.process.kill()
        terminal.process.wait()


def test_a_person_reads_one_line_a_request_and_no_polls(
    terminal: Terminal, upstream: Upstream
) -> None:
    answer = requests.post(
        f"{terminal.url}/v1/chat/completions",
        json=ask(upstream.say("a", "b")),
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=DEADLINE_S,
    )
    assert answer.ok
    lines = terminal.stop()
    assert not [line for line in lines if line.startswith("{")]
    (told,) = [line for line in lines if "/v1/chat/completions" in line]
    assert "POST /v1/chat/completions 200 stop gpt-5.5 (" in told
    assert [line for line in lines if "process: child_ready" in line]
    assert not [line for line in lines if "/readyz 200" in line]
