"""Running gateway on this machine, seen from outside: its pid file, its port, its health routes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

_PROC = Path("/proc")
_TIMEOUT_S = 2.0
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  (recognised, not bound)


@dataclass(frozen=True, slots=True)
class Running:
    """State at one moment. `pid` is None where no gateway runs; `ready` is None where it does not answer."""

    pid: int | None
    address: str = ""
    ready: bool | None = None
    reason: str | None = None
    health: str | None = None
    child: Mapping[str, Any] | None = None
    versions: Mapping[str, Any] | None = None
    account_limits: Mapping[str, Any] | None = None


def pid_of(pid_file: Path, proc: Path = _PROC) -> int | None:
    """Return the running master's process id; None if there is no file or its process is gone or another program."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    if pid <= 0 or not _is_alive(pid):
        return None
    try:
        # After a reboot the number may belong to anybody.
        return pid if b"gunicorn" in (proc / str(pid) / "cmdline").read_bytes() else None
    except OSError:
        return pid  # no /proc here, or not ours to read


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def reachable_host(host: str) -> str:
    """Return where to call a server that listens on `host`."""
    return _WILDCARDS.get(host, host)


def probe(pid: int | None, host: str, port: int, key: str) -> Running:
    """Ask the gateway's health routes. Blocks for a few seconds at most.

    The key goes out only where the pid file says that a gateway of ours runs: another program on that port must not
    learn it.
    """
    if pid is None:
        return Running(None)
    if port == 0:
        return Running(pid, reason="PORT=0: its port is in its log only")
    address = f"http://{host}:{port}"
    ready = fetch(host, port, "/readyz")
    if ready is None:
        return Running(pid, address, reason="it does not answer")
    status, body = ready
    health = (fetch(host, port, "/healthz", key) or (0, {}))[1]
    return Running(
        pid,
        address,
        ready=status == HTTPStatus.OK,
        reason=body.get("reason"),
        health=health.get("status"),
        child=health.get("child"),
        versions=health.get("versions"),
        account_limits=health.get("account_limits"),
    )


def fetch(
    host: str,
    port: int,
    path: str,
    key: str = "",
    *,
    method: str = "GET",
    body: Mapping[str, Any] | None = None,
) -> tuple[int, dict[str, Any]] | None:
    """Return the status and the JSON object of an answer; None if nobody answers in time, or with something else."""
    called = reachable_host(host)
    place = f"[{called}]:{port}" if ":" in called else f"{called}:{port}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with requests.Session() as session:
        session.trust_env = False  # neither a proxy nor .netrc stands between this host and itself
        try:
            answer = session.request(
                method,
                f"http://{place}{path}",
                json=body,
                headers=headers,
                timeout=_TIMEOUT_S,
                allow_redirects=False,
            )
            found = answer.json()
        except (requests.RequestException, ValueError):
            return None
    return (answer.status_code, found) if isinstance(found, dict) else None
