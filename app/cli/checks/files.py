"""Checks of the settings and of CODEX_HOME: what must be there, who may read it, whether there is room."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app.cli.checks import Result, fail, ok, warn
from app.settings import MIN_PROD_KEY_LENGTH, is_guessable

_MB = 1 << 20
LOW_MB = 1024
TOO_LOW_MB = 64


def settings(problems: Sequence[str], unknown: Sequence[str]) -> Result:
    """Judge the settings: the problems that their loader found, and names that it does not know."""
    if problems:
        return fail(
            " ".join(problems),
            "Correct it in the environment or in .env (the environment wins); docs/configuration.md has every default.",
        )
    if unknown:
        return warn(
            f"Accepted, but these are no settings and have no effect: {', '.join(unknown)}.",
            "Look for a typing error; .env.example has every name.",
        )
    return ok("Accepted.")


def env_file(path: Path) -> Result:
    """Judge who may read `.env`: it holds keys."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return ok("There is no .env; everything comes from the environment.")
    except OSError as error:
        return fail(f"{path} cannot be read: {error.strerror}.", f"ls -l {path}")
    if mode & 0o077:
        return warn(
            f"{path} has mode {mode:04o}: other users may read its keys.",
            f"chmod 600 {shlex.quote(str(path))}",
        )
    return ok(f"{path} is closed to other users.")


def api_key(key: str) -> Result:
    """Judge the client key; what production refuses is a warning elsewhere."""
    remedy = 'python3 -c "import secrets; print(secrets.token_urlsafe(32))" makes a good one.'
    length = len(key)
    if length < MIN_PROD_KEY_LENGTH:
        sentence = f"has only {length} characters; PROXY_ENV=prod refuses fewer than {MIN_PROD_KEY_LENGTH}."
        return warn(f"PROXY_API_KEY {sentence}", remedy)
    if is_guessable(key):
        return warn("PROXY_API_KEY can be guessed; PROXY_ENV=prod refuses it.", remedy)
    return ok(f"PROXY_API_KEY has {length} characters.")


def profile(env: str, advice: Sequence[tuple[str, str]]) -> Result:
    """Show the advice on settings that the profile allows: pairs of a variable and a sentence about it."""
    if not advice:
        return ok(f"PROXY_ENV is {env}.")
    return warn(
        " ".join([f"PROXY_ENV is {env}.", *(sentence for _, sentence in advice)]),
        "docs/security.md has the settings that are recommended for each profile.",
    )


def home(root: Path) -> Result:
    """Judge CODEX_HOME: whether it is there or can be made, ours, writable, and closed to others."""
    quoted = shlex.quote(str(root))
    if not root.exists():
        parent = _existing(root)
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return ok(f"{root} does not exist yet; the first start makes it.")
        return fail(
            f"{root} does not exist and cannot be made: {parent} is not a folder that we may write to.",
            "Point CODEX_HOME to a folder of this user, or make it: install -d -m 0700 …",
        )
    problem = _not_writable(root)
    if problem:
        return fail(
            f"{root} is not writable: {problem}.",
            f"chown -R $(id -un) {quoted} && chmod 700 {quoted}, or point CODEX_HOME elsewhere.",
        )
    found = root.stat()
    if found.st_uid != os.geteuid():
        return fail(
            f"{root} belongs to another user (uid {found.st_uid}).",
            f"chown -R $(id -un) {quoted}, or run this as the service's user.",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode != stat.S_IRWXU:
        return warn(
            f"{root} has mode {mode:04o}; the login in it should be nobody else's.",
            f"chmod 700 {quoted} (the next start does it, too)",
        )
    return ok(f"{root} is writable and closed to other users.")


def disk(root: Path, free_bytes: int) -> Result:
    """Judge the room for codex's databases."""
    free = free_bytes // _MB
    sentence = f"{free} MB free for {root}."
    if free >= LOW_MB:
        return ok(sentence)
    remedy = "Make room, or point CODEX_HOME to another disk."
    judge = fail if free < TOO_LOW_MB else warn
    return judge(sentence, remedy)


def foreign_config(root: Path) -> Result:
    """Look for a `config.toml`: it would give the child other rules, so the service refuses to start one."""
    path = root / "config.toml"
    if not os.path.lexists(path):
        return ok("There is none in CODEX_HOME.")
    quoted = shlex.quote(str(path))
    return fail(
        f"{path} exists; the gateway does not start codex beside settings that it does not know.",
        f"mv {quoted} {quoted}.away, or point CODEX_HOME to another folder.",
    )


def free_bytes(root: Path) -> int:
    """Return the room on the disk that has the folder, or will have it."""
    return shutil.disk_usage(_existing(root)).free


def _existing(path: Path) -> Path:
    """Return the nearest of the path and its parents that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def _not_writable(folder: Path) -> str:
    """Return why nothing can be written there, empty if it can. Tries it: permissions do not tell about the mount."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or "unknown"
