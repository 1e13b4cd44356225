"""Login of a `codex proto`: a copy without what renews it, and its renewal by the codex that this gateway pins.

0.42 renews in a turn, whenever it likes, and locks nothing; what it renews with is good for one use. So it is lent the
access token alone, and cannot spend the login. Ahead of its end, and at a start, the pinned codex renews it as for the
other dialect.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from gevent import subprocess

from app.backends.app_server.connection import Connection
from app.backends.app_server.parse_events import ProtocolError
from app.backends.app_server.renewal import RENEWAL_S
from app.codex.launch import Launcher, apart
from app.process.child import Child, StopLadder
from app.rpc.errors import RpcError

_LADDER = StopLadder(eof_s=5.0, term_s=1.0, kill_s=1.0)


def lent(content: bytes, now: float) -> bytes:
    """Return a login's file with what is needed to ask, and nothing to renew with. Raises `OSError` for a torn one."""
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, Mapping):
        raise OSError("auth.json is no login at this moment; perhaps it is being written")
    key, tokens = found.get("OPENAI_API_KEY"), found.get("tokens")
    is_key = found.get("auth_mode") in (None, "apikey") and isinstance(key, str)
    copy: dict[str, Any] = {"OPENAI_API_KEY": key if is_key else None}
    if not is_key and isinstance(tokens, Mapping):
        copy["tokens"] = {**tokens, "refresh_token": ""}
        # It asks for a renewal by itself where the last one is long ago.
        copy["last_refresh"] = datetime.fromtimestamp(now, UTC).isoformat()
    return orjson.dumps(copy)


class PinnedRenewal:
    """Renews the login in CODEX_HOME by an app-server that is started for that alone."""

    def __init__(self, launcher: Launcher, version: str) -> None:
        self._launcher = launcher
        self._version = version

    def renew_due(self) -> None:
        """Renew it if it is due, as that codex does in its handshake. Blocks; raises `OSError`."""
        self._run(is_asked=False)

    def renew(self) -> None:
        """Renew it now. Blocks; raises `RpcError`."""
        try:
            self._run(is_asked=True)
        except OSError as error:
            raise RpcError(str(error)) from error

    def _run(self, *, is_asked: bool) -> None:
        launcher = self._launcher
        try:
            spec = launcher.prepare()
        except (ValueError, subprocess.SubprocessError) as error:
            raise OSError(f"the codex that renews the login cannot be started: {error}") from error
        with tempfile.TemporaryDirectory(dir=launcher.home.tmp) as folder:
            child = Child(apart(spec, Path(folder)))
            connection = Connection(1, child, rpc_timeout_s=RENEWAL_S, on_lost=lambda _: None)
            try:
                connection.shake_hands(self._version, RENEWAL_S, lambda: None)
                if is_asked:
                    connection.renew_login()
            except (RpcError, ProtocolError) as error:
                if is_asked and isinstance(error, RpcError):
                    raise
                raise OSError(f"the codex that renews the login did not: {error}") from error
            finally:
                child.end(_LADDER, connection.detach)
