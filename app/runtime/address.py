"""Address to listen on: whether it can be had and, if not, a sentence with whose it is and what is free instead.

Loaded by gunicorn's master, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

import errno
import socket
from itertools import chain

import psutil

_NEIGHBOURS = 50


def problem(host: str, port: int) -> str:
    """Return why nobody can listen there, empty if one can.

    Takes the address for a moment. Blocks for a name server.
    """
    error = _try(host, port)
    if error is None:
        return ""
    if isinstance(error, socket.gaierror | UnicodeError):
        return "PROXY_HOST: no address is known for this name."
    if error.errno == errno.EADDRNOTAVAIL:
        return "PROXY_HOST: this machine has no such address."
    if error.errno == errno.EACCES:
        return f"PORT: {port} is for the superuser; take one above 1023."
    if error.errno == errno.EADDRINUSE:
        return (
            f"PORT: {port} is taken by {holder(port)}. {_free(host, port)} is free: "
            "set PORT to it, in .env or before the command."
        )
    return f"PROXY_HOST, PORT: cannot listen there: {error.strerror}."


def is_taken(host: str, port: int) -> bool:
    """True if another socket has the address at this moment."""
    error = _try(host, port)
    return error is not None and error.errno == errno.EADDRINUSE


def holder(port: int) -> str:
    """Return who listens on the port, as far as this user can see it."""
    try:
        pid = next(
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and getattr(connection.laddr, "port", 0) == port
            and connection.pid is not None
        )
        process = psutil.Process(pid)
        arguments, parent = process.cmdline(), process.parent()
        if parent is not None and parent.cmdline() == arguments:
            process = parent  # gunicorn's worker has the socket as well as its master
        is_gateway = "wsgi:app" in arguments and any("gunicorn" in each for each in arguments)
        if is_gateway:
            return f"another gateway (pid {process.pid}, started in {process.cwd()})"
        return f"{process.name()} (pid {process.pid})"
    except (StopIteration, OSError, psutil.Error):
        return "another program"


def _free(host: str, port: int) -> int:
    """Return a port near this one that is free; 0, which takes any, if none is found."""
    near = chain(
        range(port + 1, min(port + _NEIGHBOURS, 65_536)), range(max(port - _NEIGHBOURS, 1024), port)
    )
    return next((each for each in near if _try(host, each) is None), 0)


def _try(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError as error:
        return error
    return None
