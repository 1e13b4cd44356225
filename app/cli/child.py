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
from app.backends.app_server.renewal import RENEWAL_S, Renewal
from app.cli.exit_codes import CheckFailed
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.codex.login import Login
from app.process.child import Child, StopLadder, failed_start
from app.rpc.errors import CallRefused, RpcError
from app.scrub import without_secrets
from app.settings import Settings
from app.version import VERSION

_OPENAI = Upstream(UpstreamKind.OPENAI)
_LADDER = StopLadder(eof_s=1.0, term_s=1.0, kill_s=1.0)
READ_ONLY = "codex has to renew this login by itself, and auth.json cannot be written: "
_REMEDY = "Unset CODEX_BIN; make run. docs/runbooks/operational.md: The child does not start."


class ChildFailed(CheckFailed):
    """The child did not start, did not shake hands or refused a call. The message is a sentence for the operator."""

    def __init__(self, what: str, error: Exception) -> None:
        why = error.reason if isinstance(error, CallRefused) else str(error)
        text = without_secrets(f"{what}{why}").strip()
        super().__init__(text if text.endswith((".", "!", "?")) else f"{text}.", _REMEDY)


def launcher_of(settings: Settings, home: Home, upstream: Upstream = _OPENAI) -> Launcher:
    """Return how to start a child like the service's. Without a key of its upstream's: `has_key` is left out."""
    return Launcher(
        home,
        settings.app_server_bin or Path(bundled_codex_path()),
        replace(upstream, has_key=False),
        settings.upstream_api_key,  # for the list of its models alone
        settings.request_timeout_ms,
        settings.ca_certificate,
        settings.upstream_models if upstream.kind is UpstreamKind.CONFIGURED else (),
    )


@contextmanager
def conversation(
    settings: Settings,
    home: Home,
    upstream: Upstream = _OPENAI,
    databases: Path | None = None,
) -> Iterator[Connection]:
    """Start a child, shake hands within the service's own limits, and end it afterwards. Raises `ChildFailed`.

    `databases` is a folder whose databases it opens, in place of those in `home`. Where the login is due, that waits
    for another child that may be renewing it, and for this one.
    """
    launcher = launcher_of(settings, home, upstream)
    launcher.databases = databases
    login = Login(home, upstream.kind)
    if login.is_read_only:
        raise ChildFailed(READ_ONLY, Exception("it would be spent."))
    renewal = Renewal(login, home.renewal_lock)
    try:
        spec = launcher.prepare()
        renewal.begin_start()
        child = Child(spec)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ChildFailed("codex could not be started: ", error) from error
    call_s, startup_s = settings.rpc_timeout_ms / 1000, settings.startup_timeout_ms / 1000
    ladder = _LADDER
    if renewal.is_starting:
        startup_s = max(RENEWAL_S, startup_s)
        ladder = replace(_LADDER, eof_s=RENEWAL_S)  # at EOF codex finishes its renewal, and exits
    connection = Connection(1, child, rpc_timeout_s=call_s, on_lost=lambda _: None)
    try:
        try:
            connection.shake_hands(VERSION, startup_s, home.silence_log_database)
        except (RpcError, ProtocolError) as error:
            child.end(ladder, connection.detach)  # after that its last words are whole
            why = OSError(failed_start(str(error), child.last_words))
            raise ChildFailed("codex did not shake hands: ", why) from error
        yield connection
    finally:
        child.end(ladder, connection.detach)
        renewal.end_start(is_done=False)


def ask(connection: Connection, method: str, params: object, timeout_s: float) -> object:
    """Return the result of one call. Raises `ChildFailed` with codex's own words."""
    try:
        return connection.channel.call(method, params, timeout_s)
    except RpcError as error:
        raise ChildFailed("", error) from error
