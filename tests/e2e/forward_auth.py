"""ForwardAuth as a process: gunicorn with its own configuration, in a copy of what the image has of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from tests.e2e.harness import DEADLINE_S, ROOT, wait_until


@dataclass
class ForwardAuth:
    """A running sidecar whose `.env` is its test's to change."""

    folder: Path
    process: subprocess.Popen[bytes]
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def write(self, text: str) -> None:
        """Save `.env` as editors do: another file takes its place."""
        new = self.folder / ".env.new"
        new.write_text(text)
        new.replace(self.folder / ".env")

    def ask(self, key: str | None = None, path: str = "/verify", **more: str) -> requests.Response:
        headers = {**({} if key is None else {"Authorization": f"Bearer {key}"}), **more}
        return requests.get(self.url + path, headers=headers, timeout=DEADLINE_S)

    def workers(self) -> set[int]:
        assert self.process.poll() is None, self.log
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE_S)


def begin(folder: Path, env: str, **environment: str) -> ForwardAuth:
    """Start it, on a port of the kernel's choice; wait for nothing."""
    for name in ("app", "forward_auth"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".env").write_text(env)
    command = [sys.executable, "-m", "gunicorn", "-c", "forward_auth/gunicorn_conf.py"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-b", "127.0.0.1:0", "forward_auth.wsgi:app"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error", **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return ForwardAuth(folder, process)


def start(folder: Path, env: str) -> ForwardAuth:
    """Start it and wait until it listens."""
    running = begin(folder, env)

    def listens() -> int:
        assert running.process.poll() is None, running.log
        _, found, rest = running.log.partition("Listening at: http://127.0.0.1:")
        return int(rest.split()[0]) if found else 0

    running.port = wait_until(listens, "ForwardAuth listens")
    return running
