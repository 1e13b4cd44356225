"""Running gateway on this machine, seen from outside: its pid file, its port, its health routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil

from app.cli.exit_codes import CheckFailed
from app.cli.gateway_client import GatewayClient
from app.settings import Settings

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


def pid_of(pid_file: Path) -> int | None:
    """Return the running master's process id; None if there is no file or its process is gone or another program."""
    try:
        pid = int(pid_file.read_text())
        # After a reboot the number may belong to anybody.
        return pid if "gunicorn" in " ".join(psutil.Process(pid).cmdline()) else None
    except (OSError, ValueError, psutil.Error):
        return None


def address_of(host: str, port: int) -> str:
    """Return where to call a server that listens on `host`."""
    called = _WILDCARDS.get(host, host)
    return f"http://[{called}]:{port}" if ":" in called else f"http://{called}:{port}"


def client_of(settings: Settings, key: str) -> GatewayClient:
    """Return a client of the gateway with these settings; neither a proxy nor .netrc stands between.

    A key goes out only where the pid file says that a gateway of ours runs: another program on that port must not
    learn it. The caller sees to that.
    """
    return GatewayClient(address_of(settings.host, settings.port), key, direct=True)


def probe(pid: int | None, settings: Settings) -> Running:
    """Ask the gateway's health routes. Blocks for a few seconds at most."""
    if pid is None:
        return Running(None)
    if settings.port == 0:
        return Running(pid, reason="PORT=0: its port is in its log only")
    client = client_of(settings, settings.api_key)
    try:
        ready = client.send("/readyz", key="")
        reason, health = ready.json().get("reason"), client.send("/healthz").json()
    except CheckFailed:
        return Running(pid, client.address, reason="it does not answer")
    return Running(
        pid,
        client.address,
        ready=ready.status == HTTPStatus.OK,
        reason=reason,
        health=health.get("status"),
        child=health.get("child"),
        versions=health.get("versions"),
        account_limits=health.get("account_limits"),
    )
