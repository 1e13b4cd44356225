"""The real thing: gunicorn, the gateway, the real codex child, and the scripted upstream behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import openai
import psutil
import pytest
import requests

from app.settings import VARIABLES
from scripted_upstream.client import Control
from tests.fakes.growing_file import whole_lines

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-e2e-9fQ2mV7xK4tB1wZ8cR5y"
MODEL = "gpt-5.5"
DEADLINE_S = 30
IS_SHARED = os.environ.get("TEST_USE_APP_SERVER") != "false"
"""True if the turns of gateways share a child, which keeps conversations: not so in `make test-per-request`."""
REST_S = 0.25
FEW_FILES = 'ulimit -n {}; exec "$@"'
"""Words for a shell that starts a gateway which may open only so many files."""
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Er"
    "kJggg=="
)


class Upstream:
    """The scripted Responses upstream, a process of its own."""

    def __init__(
        self, *options: str, command: Sequence[str] = ("scripted_upstream",), shared: int = -1
    ) -> None:
        """`command` is the module with its own arguments, `shared` a descriptor that the process inherits."""
        common = ["--control", "--port", "0", "--until-stdin-closes"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, *common, *options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(shared,) if shared >= 0 else (),
        )
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]
        self.control = Control(self.url)

    def play(self, script: Any) -> str:
        """Register a script under a marker of its own; a prompt that holds the marker gets it."""
        marker = f"marker-{uuid4().hex}"
        self.control.script(marker, script)
        return marker

    def say(self, *deltas: str, **more: Any) -> str:
        return self.play({"items": [{"type": "message", "deltas": list(deltas)}], **more})

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        assert self.process.stdout.read() == b""
        self.process.stdout.close()


@dataclass
class Gateway:
    """A running gunicorn with the gateway, its log, and the processes below it."""

    process: subprocess.Popen[bytes]
    home: Path
    log_path: Path
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    log_start: int = 0
    """Where in its log the lines of this test begin, in bytes."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}"}

    def sdk(self, **options: Any) -> openai.OpenAI:
        defaults = {"base_url": f"{self.url}/v1", "api_key": KEY, "max_retries": 0, "timeout": 30}
        return openai.OpenAI(**{**defaults, **options})

    def post(self, body: Any, **options: Any) -> requests.Response:
        return requests.post(
            f"{self.url}/v1/chat/completions",
            json=body,
            headers=self.headers,
            timeout=DEADLINE_S,
            **options,
        )

    def get(self, path: str, *, key: bool = True) -> requests.Response:
        return requests.get(
            self.url + path, headers=self.headers if key else {}, timeout=DEADLINE_S
        )

    def log(self) -> list[dict[str, Any]]:
        """Its log, with what was logged before: a thread of its own writes it, so none may be at work."""
        await_rest(self.process.pid)
        return [json.loads(line) for line in whole_lines(self.log_path, self.log_start)]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [entry for entry in self.log() if entry["event"] == name]

    def health(self) -> Any:
        """What a caller with a key is told about the child."""
        return self.get("/healthz").json()["child"]

    def wait_ready(self) -> None:
        wait_until(lambda: self.get("/readyz").status_code == 200, "the gateway is ready")

    def master(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def workers(self) -> list[psutil.Process]:
        return self.master().children()

    def codex_processes(self) -> list[psutil.Process]:
        return [
            process
            for process in self.master().children(recursive=True)
            if process.name() == "codex" and process.status() != psutil.STATUS_ZOMBIE
        ]

    def child(self) -> psutil.Process:
        (child,) = self.codex_processes()
        return child

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
    """Poll an outside condition (a process table, a log, a port) until it holds; never a fixed sleep."""
    deadline = time.monotonic() + timeout_s
    while True:
        # Looked at once more behind the deadline: the machine may have stood still in the look before.
        is_late, error = time.monotonic() > deadline, ""
        try:
            if value := condition():
                return value
        except (requests.ConnectionError, psutil.NoSuchProcess, ValueError) as failure:
            error = f" ({failure!r})"
        if is_late:
            pytest.fail(f"not within {timeout_s} s: {what}{error}")
        threading.Event().wait(0.01)


def await_rest(pid: int) -> None:
    """Wait until no thread of a process and of its children runs, for a quarter of a second at most."""
    with suppress(psutil.NoSuchProcess):
        family = [process.pid for process in psutil.Process(pid).children()]
        deadline = time.monotonic() + REST_S
        while any(map(is_running, [pid, *family])) and time.monotonic() < deadline:
            threading.Event().wait(0.002)


def is_running(pid: int) -> bool:
    with suppress(OSError):
        for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
            with suppress(OSError):
                if stat.read_text().rpartition(") ")[2].startswith("R"):
                    return True
    return False


def start_gateway(
    folder: Path,
    upstream: Upstream | None,
    log_to: IO[bytes] | None = None,
    /,
    *,
    app: str = "wsgi:app",
    starter: str = "",
    python: str = sys.executable,
    **settings: str,
) -> Gateway:
    """Start gunicorn as the README says, with every setting given, so that no `.env` reaches a test.

    Its output goes to `gateway.log` in the folder; to `log_to` if that is given, for who writes this file instead.
    `starter` are words of a shell that run before it, and end with `exec "$@"`. `python` is that of an environment.
    """
    home = folder / "codex-home"
    environment = {variable.metadata["name"]: "" for variable in VARIABLES}
    environment |= {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PROXY_API_KEY": KEY,
        "PORT": "0",
        "CODEX_HOME": str(home),
        "PYTHONWARNINGS": "error",
        "PYTHONDONTWRITEBYTECODE": "1",
        # `make test-per-request` runs the tests of what clients see with the other backend.
        "PROXY_USE_APP_SERVER": os.environ.get("TEST_USE_APP_SERVER", ""),
        # Most tests look at single requests upstream, which a WebSocket has others beside.
        "CODEX_UPSTREAM_WEBSOCKETS": os.environ.get("TEST_UPSTREAM_WEBSOCKETS", "false"),
    }
    if upstream is not None:
        environment |= {
            "CODEX_UPSTREAM_URL": upstream.url,
            "CODEX_UPSTREAM_API_KEY": "upstream-key",
        }
    environment |= settings
    log_path = folder / "gateway.log"
    with log_to or log_path.open("wb") as log:
        process = subprocess.Popen(
            [
                *(["sh", "-c", starter, "sh"] if starter else []),
                python,
                "-m",
                "gunicorn",
                "-c",
                "gunicorn.conf.py",
                app,
            ],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    gateway = Gateway(process, home, log_path, environment=environment)
    gateway.port = wait_until(lambda: listening_port(gateway), "gunicorn listens")
    return gateway


def listening_port(gateway: Gateway) -> int | None:
    assert gateway.process.poll() is None, gateway.log_path.read_text()
    for entry in gateway.log():
        if entry["event"].startswith("Listening at: "):
            return int(entry["event"].rpartition(":")[2].split()[0])
    return None


def end(gateway: Gateway) -> None:
    family = (
        [gateway.master(), *gateway.master().children(recursive=True)]
        if gateway.process.poll() is None
        else []
    )
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    gateway.process.wait(DEADLINE_S)


def ask(marker: str, **more: Any) -> dict[str, Any]:
    """The smallest chat request whose prompt carries a marker."""
    return {"model": MODEL, "messages": [{"role": "user", "content": f"[{marker}]"}], **more}
