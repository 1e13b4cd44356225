"""A checkout of its own for tests that reload: its `.env` and its code may change, and a load runs meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from codex_cli_bin import bundled_codex_path

from tests.e2e.harness import KEY, ROOT, Gateway, Upstream, ask, listening_port, wait_until
from tests.e2e.raw_http import exchange, request_bytes, stream_frames
from tests.fakes.growing_file import whole_lines

WORDS = 50


@dataclass
class Site:
    """A copy of the code in `folder`, with settings in its `.env` and none in the environment."""

    folder: Path
    upstream: Upstream
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "app", self.folder / "app", ignore=ignored)
        for name in ("wsgi.py", "gunicorn.conf.py"):
            shutil.copy(ROOT / name, self.folder / name)
        self.set(
            PROXY_API_KEY=KEY,
            PORT="0",
            CODEX_HOME=str(self.folder / "codex-home"),
            CODEX_UPSTREAM_URL=self.upstream.url,
            CODEX_UPSTREAM_API_KEY="upstream-key",
            CODEX_UPSTREAM_WEBSOCKETS="false",
            **self.settings,
        )

    def set(self, **settings: str) -> None:
        """Change settings in `.env`; an empty value takes one out."""
        self.settings |= settings
        lines = [f"{name}={value}\n" for name, value in self.settings.items() if value]
        (self.folder / ".env").write_text("".join(lines))

    def start(self, *arguments: str, module: bool = False) -> Gateway:
        """Start gunicorn as the README says (or as `python -m gunicorn`) and wait until it listens."""
        program = Path(sys.executable).parent / "gunicorn"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "PYTHONWARNINGS": "error",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.environment,
        }
        log_path = self.folder / "gateway.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [
                    *([sys.executable, "-m", "gunicorn"] if module else [str(program)]),
                    *("-c", "gunicorn.conf.py", *arguments, "wsgi:app"),
                ],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        gateway = Gateway(process, self.folder / "codex-home", log_path)
        gateway.port = wait_until(lambda: listening_port(gateway), "gunicorn listens")
        return gateway

    def codex(self, name: str, before: str = "", instead: str = "") -> str:
        """Write a script that runs shell words before the real binary, or instead of it; return its path."""
        path = self.folder / name
        last = instead or f'exec {bundled_codex_path()} "$@"'
        path.write_text(f'#!/bin/sh\nif [ "$1" = app-server ]; then\n{before or ":"}\nfi\n{last}\n')
        path.chmod(0o755)
        return str(path)


def hup(gateway: Gateway) -> None:
    gateway.process.send_signal(signal.SIGHUP)


def events(gateway: Gateway, name: str) -> list[dict[str, Any]]:
    """As `gateway.events`, where gunicorn itself may have printed what is no JSON."""
    lines = whole_lines(gateway.log_path)
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == name]


def reload_state(gateway: Gateway) -> dict[str, Any]:
    report: dict[str, Any] = gateway.get("/healthz").json()["reload"]
    return report


def wait_reloads(gateway: Gateway, count: int) -> None:
    wait_until(
        lambda: len(events(gateway, "reload_done")) == count, f"{count} reloads are done", 60
    )


def processes_below(gateway: Gateway) -> list[str]:
    """Every process that still belongs to a gateway that has ended: found by its folder in the command line."""
    found = subprocess.run(
        ["pgrep", "-af", str(gateway.home.parent)], capture_output=True, text=True, check=False
    )
    return [line for line in found.stdout.splitlines() if "pgrep" not in line]


class Load:
    """Paced streams, and probes with a new connection each, beside what a test does."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self._gateway = gateway
        self._upstream = upstream
        self._pool = ThreadPoolExecutor(64)
        self._streams: list[Future[bool]] = []
        self._is_over = threading.Event()
        self.waits_ms: list[float] = []
        self.errors: list[str] = []
        self._prober: Future[None] | None = None

    def streams(self, count: int, seconds: float) -> None:
        """Begin streams that last so long, and return when every one has said something."""
        deltas = [f"word{number} " for number in range(WORDS)]
        marker = self._upstream.say(*deltas, interval_ms=seconds * 1000 / WORDS)
        self._streams += [self._pool.submit(self._follow, marker, deltas) for _ in range(count)]
        self._upstream.control.wait("headers_sent", marker, count=count)

    def _follow(self, marker: str, deltas: list[str]) -> bool:
        _, frames = stream_frames(self._gateway, ask(marker))
        contents = [
            choice["delta"].get("content") or ""
            for frame in frames[:-1]
            for choice in frame.get("choices", [])
        ]
        is_whole = frames[-1] == "[DONE]" and "".join(contents) == "".join(deltas)
        return is_whole and frames[-2]["choices"][0]["finish_reason"] == "stop"

    def whole(self) -> int:
        """Wait for every stream; return how many were whole."""
        return sum(stream.result(120) for stream in self._streams)

    def probe(self, path: str = "/readyz", every_s: float = 0.02) -> None:
        """Begin to probe."""
        self._prober = self._pool.submit(self._probe, request_bytes("GET", path), every_s)

    def _probe(self, request: bytes, every_s: float) -> None:
        while not self._is_over.wait(every_s):
            began = time.monotonic()
            try:
                status, _, _ = exchange(self._gateway, request)
                if status != 200:
                    self.errors.append(f"status {status}")
            except OSError as error:
                self.errors.append(repr(error))
            self.waits_ms.append((time.monotonic() - began) * 1000)

    def stop_probing(self) -> None:
        self._is_over.set()
        if self._prober is not None:
            self._prober.result(60)


def post(gateway: Gateway, session: requests.Session, marker: str) -> str:
    answer = session.post(
        f"{gateway.url}/v1/chat/completions",
        json=ask(marker),
        headers=gateway.headers,
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    content: str = answer.json()["choices"][0]["message"]["content"]
    return content
