"""Starts what is measured, and ends it for certain: each process is a context manager.

Every process gets a session of its own, so that a Ctrl-C reaches only the benchmark, which then ends them in order.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from app.settings import VARIABLES
from bench.direct_load import UPSTREAM_KEY_VARIABLE
from bench.http_load import KEY_VARIABLE
from bench.jobs import Job, Report
from bench.measure import cpu_ms, machine_cpu_ms, parent_of

ROOT = Path(__file__).resolve().parent.parent

_START_S = 30
_STOP_S = 15  # the gateway's own drain takes 10 at most
_LEAVE_S = 2
_SETTLE_S = 0.1  # threads are still being unloaded: that belongs to this job, not to the next
_OK = 200


class StartError(Exception):
    """Something that is to be measured did not start; the message is its own last words."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two ways to the upstream. `pids` are the processes whose CPU it costs."""

    name: str
    load: subprocess.Popen[bytes]
    pids: Mapping[str, int]

    def run(self, job: Job) -> tuple[Report, dict[str, float]]:
        """Do one job; return its report and the CPU milliseconds by process. Blocks."""
        before = self._cpu()
        report = Report(**_exchange(self.load, asdict(job)))
        time.sleep(_SETTLE_S)
        after = self._cpu()
        spent = {name: after[name] - before[name] for name in after}
        spent["elsewhere"] = 2 * spent["machine"] - sum(spent.values())
        return report, spent

    def _cpu(self) -> dict[str, float]:
        return {name: cpu_ms(pid) for name, pid in self.pids.items()} | {
            "machine": machine_cpu_ms()
        }


@dataclass(frozen=True, slots=True)
class Gateway:
    """The running gateway: where it listens, the key that opens it, its worker and the worker's child."""

    port: int
    key: str
    worker_pid: int
    child_pid: int
    user_agent: str
    model: str


@contextmanager
def upstream(home: Path) -> Iterator[tuple[str, int]]:
    """Run the scripted upstream; yield its address and its process id."""
    arguments = ("scripted_upstream", "--control", "--port", "0", "--until-stdin-closes")
    with _python(arguments, environment(home)) as process:
        yield _first_line(process)["url"], process.pid


@contextmanager
def gateway(upstream_url: str, home: Path, binary: Path) -> Iterator[Gateway]:
    """Run the gateway as an operator would and wait until it is ready. Raises `StartError`."""
    port, key, log = _free_port(), secrets.token_hex(16), home.with_suffix(".log")
    ours = {
        "PROXY_API_KEY": key,
        "PORT": str(port),
        "CODEX_HOME": str(home),
        "CODEX_BIN": str(binary),
        "CODEX_UPSTREAM_URL": upstream_url,
        "CODEX_UPSTREAM_API_KEY": "x",
        "LOG_LEVEL": "info",
    }
    # A developer's .env must not decide what is measured; the environment wins over it.
    defaults = {entry.metadata["name"]: entry.metadata["default"] for entry in VARIABLES}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
            cwd=ROOT,
            env=environment(home) | {name: text for name, text in defaults.items() if text} | ours,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        status = _await_ready(process, port, key, log)
        child = status["child"]
        model = _get(port, "/v1/models", key)[1]["data"][0]["id"]
        worker_pid = parent_of(child["pid"])
        yield Gateway(port, key, worker_pid, child["pid"], child["user_agent"], model)
    finally:
        _end(process)


@contextmanager
def through_gateway(running: Gateway, home: Path, upstream_pid: int) -> Iterator[Side]:
    """Run the HTTP load generator against a running gateway."""
    with _python(
        ("bench.http_load", str(running.port)), {**environment(home), KEY_VARIABLE: running.key}
    ) as load:
        pids = {"self": running.worker_pid, "codex": running.child_pid, "load": load.pid}
        yield Side("gateway", load, pids | {"upstream": upstream_pid})


@contextmanager
def directly(upstream_url: str, home: Path, binary: Path, upstream_pid: int) -> Iterator[Side]:
    """Run the hand-written client with a child of its own."""
    arguments = ("bench.direct_load", str(home), upstream_url, str(binary))
    with _python(arguments, {**environment(home), UPSTREAM_KEY_VARIABLE: "x"}) as load:
        child_pid = _first_line(load)["child_pid"]
        yield Side("direct", load, {"self": load.pid, "codex": child_pid, "upstream": upstream_pid})


def environment(home: Path) -> dict[str, str]:
    """Return what both sides get: nothing of the developer's own settings or proxies."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    return kept | {"PATH": os.defpath, "HOME": str(home)}


@contextmanager
def _python(arguments: tuple[str, ...], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of our modules until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_S)  # longer only if it is in the middle of a job
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _exchange(process: subprocess.Popen[bytes], message: dict[str, Any]) -> dict[str, Any]:
    if process.stdin is None:
        raise StartError("the load generator has no stdin")
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    return _first_line(process)


def _first_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    line = process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise StartError(f"{process.args!r} ended without a word")
    message: dict[str, Any] = json.loads(line)
    return message


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _await_ready(
    process: subprocess.Popen[bytes], port: int, key: str, log: Path
) -> dict[str, Any]:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            status, body = _get(port, "/readyz", key)
            if status == _OK:
                return body
        time.sleep(0.05)
    raise StartError("The gateway did not become ready:\n" + log.read_text()[-2000:])


def _get(port: int, path: str, key: str) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
