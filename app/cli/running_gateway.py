"""Running gateway on this machine, seen from outside: its pid file, its port, its health routes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil

from app.cli.exit_codes import CheckFailed, give_up
from app.cli.gateway_client import ANSWER_S, GatewayClient
from app.codex.home import Home
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
    except (OSError, ValueError):
        return None
    return pid if is_gateway(pid) else None


def is_gateway(pid: int) -> bool:
    """Return whether that process is alive and a gunicorn: after a reboot the number may belong to anybody."""
    try:
        return "gunicorn" in " ".join(psutil.Process(pid).cmdline())
    except (ValueError, psutil.Error):
        return False


def address_of(host: str, port: int) -> str:
    """Return where to call a server that listens on `host`."""
    called = _WILDCARDS.get(host, host)
    return f"http://[{called}]:{port}" if ":" in called else f"http://{called}:{port}"


def listening_ports(process: psutil.Process) -> list[int]:
    """Return the TCP ports that a process listens on; none where it has ended, or belongs to somebody else."""
    try:
        connections = process.net_connections("tcp")
    except psutil.Error:
        return []
    listening = (each for each in connections if each.status == psutil.CONN_LISTEN)
    return [int(getattr(each.laddr, "port", 0)) for each in listening]


def client_of(pid: int, settings: Settings, key: str, timeout_s: float = ANSWER_S) -> GatewayClient:
    """Return a client of the gateway that runs as `pid`; neither a proxy nor .netrc stands between.

    PORT is only believed where that process cannot be looked into: the setting may have changed since it began, and
    another program on that port must not learn the key. Raises `CheckFailed` where the port is not known.
    """
    ports = [settings.port]
    with suppress(psutil.Error):
        ports = listening_ports(psutil.Process(pid)) or ports
    port = settings.port if settings.port in ports else ports[0]
    if port == 0:
        raise CheckFailed("The gateway does not listen yet.", "Try again in a moment.")
    return GatewayClient(address_of(settings.host, port), key, timeout_s, direct=True)


def operator_client(settings: Settings, timeout_s: float = ANSWER_S) -> GatewayClient:
    """Return a client of the gateway that runs with these settings, with the operator's key; end the command if none.

    Raises `CheckFailed` where its port is not known.
    """
    if not settings.operator_key:
        give_up("PROXY_ADMIN_KEY is not set, and with PROXY_ENV=prod nothing else opens /internal.")
    if (pid := pid_of(Home(settings.codex_home).pid_file)) is None:
        give_up("No gateway runs with this CODEX_HOME.")
    return client_of(pid, settings, settings.operator_key, timeout_s)


def probe(pid: int | None, settings: Settings) -> Running:
    """Ask the gateway's health routes. Blocks for a few seconds at most."""
    if pid is None:
        return Running(None)
    address = ""
    try:
        client = client_of(pid, settings, settings.api_key)
        address = client.address
        ready = client.send("/readyz", key="")
        reason, health = ready.json().get("reason"), client.send("/healthz").json()
    except CheckFailed:
        return Running(pid, address, reason="it does not answer")
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
