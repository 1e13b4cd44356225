"""Checks of the codex binary, of a child of it, and of the login."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from gevent import subprocess

from app.cli.account import CHATGPT, Login
from app.cli.checks import Result, fail, ok, skip, warn
from app.cli.child import ChildFailed, codex_version, conversation
from app.codex.config import UpstreamKind
from app.codex.launch import Launcher
from app.settings import Settings

_TIMEOUT_S = 10
_REINSTALL = "Unset CODEX_BIN; make run installs the binary that requirements.txt names."
_LOG_IN = "flask --app wsgi codex login"
_EXPIRED = f"If the network is fine (see upstream), the login has expired or was revoked: {_LOG_IN}"

_LOGIN_AT_FAULT = re.compile(
    r"\b(401|403|unauthori[sz]ed|expired|revoked|refresh token)\b", re.IGNORECASE
)
"""Words of a failure that say that the login itself is at fault."""


def binary(path: Path | None) -> Result:
    """Judge the binary's file; `path` is None if the package that brings it is broken."""
    if path is None:
        return fail("The package that brings it is not whole.", _REINSTALL)
    if not path.is_file():
        return fail(f"{path} is no file.", _REINSTALL)
    if not os.access(path, os.X_OK):
        return fail(f"{path} is not executable.", f"chmod +x {path}")
    return ok(f"{path}")


def printed_version(path: Path) -> str | None:
    """Return what `codex --version` prints, in a CODEX_HOME of its own; None if it fails. Blocks."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [str(path), "--version"],
                env={"PATH": os.defpath, "HOME": folder, "CODEX_HOME": folder},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
    return bytes(done.stdout).decode(errors="replace").strip()


def version(printed: str | None, pinned: str) -> Result:
    """Compare the version that the binary prints with the package that requirements.txt pins."""
    if printed is None:
        return fail("codex --version failed: not a codex for this machine?", _REINSTALL)
    found = printed.rpartition(" ")[2]
    if found == pinned:
        return ok(f"{found}, as pinned.")
    return warn(
        f"{found or 'unknown'}, while the gateway is tested with {pinned}: the protocol may differ.",
        _REINSTALL,
    )


def catalog(launcher: Launcher) -> Result:
    """Let the binary print its models, and write the catalog made from them. Blocks."""
    try:
        launcher.prepare()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return fail(f"It could not be made: {error}.", _REINSTALL)
    return ok("codex prints it.")


def handshake(launcher: Launcher, settings: Settings) -> Result:
    """Start a child in the launcher's CODEX_HOME and shake hands. Blocks."""
    try:
        with conversation(launcher, settings) as connection:
            found = codex_version(connection.user_agent)
            count = len(connection.models)
    except ChildFailed as error:
        return fail(
            str(error),
            f"{_REINSTALL} On a slow machine: raise WORKER_STARTUP_TIMEOUT_MS.",
        )
    return ok(f"codex {found} starts, shakes hands and lists {count} models.")


def login(found: Login, kind: UpstreamKind) -> Result:
    """Judge the login that codex found, for the upstream that serves."""
    if kind is UpstreamKind.CONFIGURED:
        return ok("None is needed: CODEX_UPSTREAM_URL is set.")
    if found.problem:
        sentence = f"There is a login, but codex could not look it up: {found.problem}"
        return fail(sentence, _EXPIRED)
    if found.account is not None and found.limits_problem:
        judge = fail if _LOGIN_AT_FAULT.search(found.limits_problem) else warn
        return judge(f"{found.account}; its limits: {found.limits_problem}", _EXPIRED)
    if found.account is not None:
        return ok(f"{found.account}.")
    if kind is UpstreamKind.OPENAI:
        return fail("Nobody is logged in: every request is answered 503.", _LOG_IN)
    return warn("Nobody ever logged in: the demo upstream serves.", _LOG_IN)


def login_offline(type_in_file: str | None, kind: UpstreamKind) -> Result:
    """Judge the login by its file alone, for `--offline`."""
    if type_in_file == CHATGPT:
        return skip("A ChatGPT login is in CODEX_HOME; whether it is still good was not tried.")
    return login(Login(), kind)
