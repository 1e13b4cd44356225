"""Starts of the gateway: from the exec of gunicorn to the first 200 of `/readyz`, in a fresh CODEX_HOME and a used one.

Another checkout can take turns with this one, so that whatever else the machine does meets both alike. No upstream is
asked anything.
"""

from __future__ import annotations

import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

from app.settings import VARIABLES
from bench.processes import ROOT, StartError, environment, free_port, service

KINDS = ("fresh home", "used home")

_KEY = "sk-bench-of-starts-4b1d9f27c6"
_NOBODY = "http://127.0.0.1:9/v1"
_MOST_S = 60.0
_PAUSE_S = 0.002

Times = dict[tuple[str, str], list[float]]
"""By checkout and kind, in milliseconds."""


def measure(repeats: int, against: Path | None, binary: Path) -> Times:
    """Start each checkout so often in a home of its own that is new, then again in the same. Raises `StartError`."""
    checkouts = {"this checkout": ROOT, **({"the other": against} if against else {})}
    times: Times = {(name, kind): [] for name in checkouts for kind in KINDS}
    for number in range(repeats):
        for name in sorted(checkouts, reverse=bool(number % 2)):
            with tempfile.TemporaryDirectory(prefix="bench-start-") as folder:
                for kind in KINDS:
                    took_ms = _start(checkouts[name], Path(folder), binary) * 1000
                    times[name, kind].append(took_ms)
    return times


def _start(checkout: Path, folder: Path, binary: Path) -> float:
    """Start once, and stop; return how long it took to be ready, in seconds."""
    port, log = free_port(), folder / "gateway.log"
    defaults = {entry.metadata["name"]: entry.metadata["default"] for entry in VARIABLES}
    ours = {
        "PROXY_API_KEY": _KEY,
        "PORT": str(port),
        "CODEX_HOME": str(folder / "home"),
        "CODEX_BIN": str(binary),
        "CODEX_UPSTREAM_URL": _NOBODY,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    env: Mapping[str, str] = environment(folder) | {n: v for n, v in defaults.items() if v} | ours
    argv = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    began = time.monotonic()
    with service(argv, env, log, checkout) as process:
        _await_ready(process, port, log, began + _MOST_S)
        return time.monotonic() - began


def _await_ready(process: Popen[bytes], port: int, log: Path, until: float) -> None:
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if sock.recv(64).startswith(b"HTTP/1.1 200 "):
                return
        time.sleep(_PAUSE_S)
    raise StartError(
        "The gateway did not become ready:\n" + log.read_text(errors="replace")[-2000:]
    )


def text(times: Times) -> str:
    """Return the table."""
    lines = [f"{'ms from exec to ready':24}{'median':>8}{'least':>8}{'most':>8}{'starts':>8}"]
    for (name, kind), found in times.items():
        median = statistics.median(found)
        lines.append(
            f"{name + ', ' + kind:24}{median:8.0f}{min(found):8.0f}{max(found):8.0f}{len(found):8}"
        )
    for kind in KINDS:
        medians = [statistics.median(found) for (_, its), found in times.items() if its == kind]
        if len(medians) == len(KINDS):
            lines.append(f"{kind}: {medians[0] / medians[1]:.2f} of the other's")
    return "\n".join(lines)
