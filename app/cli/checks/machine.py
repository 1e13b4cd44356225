"""Checks of the machine: Python, shared memory, open files, the port."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from app.cli.checks import Result, fail, ok, warn
from app.settings import OTHER_DESCRIPTORS

PYTHON = (3, 11)


def python_version(version: tuple[int, int, int]) -> Result:
    """Judge the version of Python; the requirements are pinned for 3.11."""
    shown = ".".join(map(str, version))
    if version[:2] == PYTHON:
        return ok(f"Python {shown}.")
    if version[:2] > PYTHON:
        remedy = "If something fails that is not explained below, use Python 3.11."
        return warn(f"Python {shown}; the service is tested with 3.11.", remedy)
    return fail(f"Python {shown} is too old.", "Install Python 3.11, remove .venv, run make run.")


def shared_memory(folder: Path) -> Result:
    """Judge the folder in which gunicorn keeps its worker's heartbeat."""
    if not folder.is_dir():
        return warn(
            f"There is no {folder}: the worker's heartbeat goes to a file on disk.",
            "Nothing on macOS. In a container: mount a tmpfs there, or a slow disk can end the worker.",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return fail(
            f"{folder} is not writable: gunicorn cannot start its worker.",
            f"chmod 1777 {folder}",
        )
    return ok(f"{folder} is writable.")


def open_files(limit: int, connections: int) -> Result:
    """Judge the hard limit of open files, of which each client connection takes one.

    A negative limit means none.
    """
    needed = connections + OTHER_DESCRIPTORS
    if limit < 0:
        return ok("No limit.")
    if limit >= needed:
        return ok(f"{limit} may be open; {needed} are enough.")
    return warn(
        f"Only {limit} may be open, which is less than {connections} clients need: fewer are accepted.",
        f"ulimit -Hn {needed} before the start, or LimitNOFILE={needed} in the service's unit.",
    )


def port(host: str, number: int, ours: int | None) -> Result:
    """Judge the port: free, or used by the gateway whose process id is `ours`. Binds it for a moment if it is free."""
    if number == 0:
        return ok("PORT=0: a free one is taken at the start.")
    problem = _try_to_bind(host, number)
    if problem is None:
        return ok(f"{number} on {host} is free.")
    if problem == errno.EADDRINUSE and ours is not None:
        return ok(f"{number} on {host} is used by our own gateway, pid {ours}.")
    if problem == errno.EADDRINUSE:
        return fail(
            f"{number} on {host} is in use by another program.",
            f"ss -ltnp 'sport = :{number}' shows which; end it, or set PORT to another number.",
        )
    if problem == errno.EACCES:
        return fail(f"{number} may not be used by this user.", "Set PORT above 1023.")
    return fail(
        f"{host} is not an address of this machine ({os.strerror(problem)}).",
        "Set PROXY_HOST to 127.0.0.1, 0.0.0.0 or an address that `ip addr` shows.",
    )


def _try_to_bind(host: str, number: int) -> int | None:
    """Return the error's number, or None if it went well. A name that has no address counts as no address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, number))
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno or errno.EADDRNOTAVAIL
    return None
