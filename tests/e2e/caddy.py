"""Caddy of the Debian package with a sample of deploy/caddy, for other addresses: plain HTTP, and any name."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.e2e.harness import DEADLINE_S, ROOT, wait_until
from tests.e2e.replicas import free_port

SAMPLES = ROOT / "deploy" / "caddy"


class Caddy:
    """A running Caddy. `changes` are made to the sample: what stands there, and what is to."""

    def __init__(self, folder: Path, sample: str, changes: Mapping[str, str]) -> None:
        folder.mkdir()
        self.port = free_port()
        self._config = folder / "Caddyfile"
        self._log = folder / "log"
        self._admin = f"unix/{folder}/admin"
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        text = (SAMPLES / sample).read_text()
        # A certificate wants the name.
        for old, new in {"gateway.example.com": f"http://:{self.port}", **changes}.items():
            assert old in text
            text = text.replace(old, new)
        self.text = f"{{\n\tadmin {self._admin}\n}}\n{text}"
        self._config.write_text(self.text)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["caddy", "run", *self._arguments], env=self._environment, stdout=log, stderr=log
            )
        wait_until(self._listens, "Caddy listens")

    @property
    def _arguments(self) -> list[str]:
        return ["--config", str(self._config), "--adapter", "caddyfile"]

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def reload(self, text: str) -> None:
        """As an operator does after a change of the file."""
        self._config.write_text(text)
        command = ["caddy", "reload", *self._arguments, "--address", self._admin]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE_S)
