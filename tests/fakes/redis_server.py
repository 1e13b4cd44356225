"""A real Redis server behind a socket of its own, which can be killed, stopped and started again."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness import DEADLINE_S, wait_until

PASSWORD = "redis-password-0123456789"


@dataclass
class RedisServer:
    """A real one, which keeps nothing over a restart."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://:{PASSWORD}@{self.socket}"

    def start(self) -> None:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "requirepass": PASSWORD,
            "dir": str(self.folder),
            "save": "",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        wait_until(lambda: self.ask("PING") == "PONG", "Redis answers")

    def ask(self, *words: str) -> str:
        command = ["redis-cli", "--no-auth-warning", "-s", str(self.socket), "-a", PASSWORD]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(DEADLINE_S)
