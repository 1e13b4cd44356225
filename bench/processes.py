"""Processes of the benchmark: started with a known environment, spoken to by lines of JSON, and ended for certain.

Each is a context manager. Every process gets a session of its own, so that a Ctrl-C reaches only the benchmark, which
then ends them in order.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

_START_S = 60
_STOP_S = 15  # the gateway's own drain takes 10 at most
_LEAVE_S = 2
_OK = 200


class StartError(Exception):
    """Something that is to be measured did not start; the message is its own last words."""


def environment(home: Path) -> dict[str, str]:
    """Return what all sides get: nothing of the developer's own settings or proxies."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    return kept | {"PATH": os.defpath, "HOME": str(home)}


@contextmanager
def module(arguments: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of our modules until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=dict(env),
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
        end(process)


@contextmanager
def service(
    argv: Sequence[str], env: Mapping[str, str], log: Path, folder: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until it is told to stop; what it says goes to the log."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(argv),
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and what it started, however it takes that."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def exchange(process: subprocess.Popen[bytes], message: Mapping[str, Any]) -> dict[str, Any]:
    """Send a line to a generator and return its answer. Blocks; raises `StartError` if it has ended."""
    if process.stdin is None:
        raise StartError("the load generator has no stdin")
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    return first_line(process)


def first_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return the next line that a process writes. Blocks; raises `StartError` if it has ended."""
    line = process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise StartError(f"{process.args!r} ended without a word")
    message: dict[str, Any] = json.loads(line)
    return message


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def await_answer(
    process: subprocess.Popen[bytes], ask: Callable[[], tuple[int, Any]], what: str, log: Path
) -> Any:
    """Ask until the status is 200, and return the body. Raises `StartError` with the end of the log."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, ValueError):
            status, body = ask()
            if status == _OK:
                return body
        time.sleep(0.05)
    raise StartError(f"{what} did not become ready:\n" + log.read_text(errors="replace")[-2000:])


def get(port: int, path: str, key: str) -> tuple[int, Any]:
    """Return the status and the JSON body that a server answers with. Raises `OSError` or `ValueError`."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
