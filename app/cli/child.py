"""Codex child of a command's own, for a few questions. It does not touch the running gateway's child.

It may share that one's CODEX_HOME, as the two children of a reload do. It must not get a copy of the login instead:
codex may renew a login while it is asked, and the original would then be worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from codex_cli_bin import bundled_codex_path
from gevent import subprocess

from app.backends.app_server.connection import Connection
from app.backends.app_server.parse_events import ProtocolError
from app.backends.app_server.rpc_errors import to_gateway_error
from app.cli.exit_codes import without_secrets
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.process.child import Child, StopLadder
from app.rpc.errors import CallRefused, RpcError
from app.settings import Settings
from app.version import VERSION

OPENAI = Upstream(UpstreamKind.OPENAI)

_NOBODY = "http://127.0.0.1:9/v1"
"""Stands for the demo's address, which it has only while a worker runs."""

_LADDER = StopLadder(eof_s=1.0, term_s=1.0, kill_s=1.0)


class ChildFailed(Exception):
    """The child did not start, did not shake hands or refused a call. The message is a sentence for the operator."""


def binary_of(settings: Settings) -> Path:
    """Return the binary that the service uses. Raises `FileNotFoundError` if its package is broken."""
    return settings.codex_bin or Path(bundled_codex_path())


def launcher_of(settings: Settings, home: Home, upstream: Upstream = OPENAI) -> Launcher:
    """Return how to start a child like the service's, without the key of its upstream. Raises `ChildFailed`."""
    try:
        binary = binary_of(settings)
    except FileNotFoundError as error:
        raise ChildFailed(f"There is no codex binary: {error}.") from error
    return Launcher(home, binary, upstream, "", settings.request_timeout_ms)


def for_handshake(upstream: Upstream) -> Upstream:
    """Return an upstream for a child that sends no turn: without a key, and with an address for the demo, too."""
    address = _NOBODY if upstream.kind is UpstreamKind.DEMO else upstream.base_url
    return replace(upstream, base_url=address, has_key=False)


@contextmanager
def conversation(launcher: Launcher, settings: Settings) -> Iterator[Connection]:
    """Start a child, shake hands within the service's own limits, and end it afterwards. Raises `ChildFailed`."""
    child = _start(launcher)
    call_s = settings.rpc_timeout_ms / 1000
    connection = Connection(1, child, rpc_timeout_s=call_s, on_lost=lambda _: None)
    try:
        _shake_hands(connection, launcher, settings.startup_timeout_ms / 1000)
        yield connection
    finally:
        child.end(_LADDER, connection.detach)


def _start(launcher: Launcher) -> Child:
    try:
        return Child(launcher.prepare())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ChildFailed(f"codex could not be started: {_sentence(str(error))}") from error


def _shake_hands(connection: Connection, launcher: Launcher, timeout_s: float) -> None:
    try:
        connection.shake_hands(VERSION, timeout_s, launcher.home.silence_log_database)
    except (RpcError, ProtocolError) as error:
        why = error.reason if isinstance(error, CallRefused) else str(error)
        raise ChildFailed(f"codex did not shake hands: {_sentence(why)}") from error


def ask(connection: Connection, method: str, params: object, timeout_s: float) -> object:
    """Return the result of one call. Raises `ChildFailed` with codex's own words."""
    try:
        return connection.channel.call(method, params, timeout_s)
    except CallRefused as error:
        raise ChildFailed(_sentence(error.reason)) from error
    except RpcError as error:
        raise ChildFailed(_sentence(to_gateway_error(error).message)) from error


def _sentence(text: str) -> str:
    shown = without_secrets(text).strip()
    return shown if shown.endswith((".", "!", "?")) else f"{shown}."


def codex_version(user_agent: str) -> str:
    """Return codex's version from `name/1.2.3 (system) …`; the whole text if it looks otherwise."""
    name, _, rest = user_agent.partition("/")
    return rest.split(" ", 1)[0] if name and rest else user_agent
