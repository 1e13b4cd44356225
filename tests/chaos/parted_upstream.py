"""Upstream in two processes behind one address, so that what one key asks of it slows down no answer of another.

The first process has the address. A connection on which a turn of `ATTACKERS_MODEL` is asked for is passed on to the
second, unread: codex opens one for each turn, and names the model first. Each process has a control API of its own.
"""

from __future__ import annotations

import re
import socket as sockets
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent import socket

from scripted_upstream.__main__ import main
from scripted_upstream.server import Server
from tests.e2e.harness import Upstream

ATTACKERS_MODEL = "gpt-5.6-luna"

_MODEL = re.compile(rb'\r\n\r\n\{"model":"([^"]*)"')
_TURN = b"POST /v1/responses "
_PEEKED_BYTES = 8192


class PartedUpstream(Upstream):
    """The upstream of everybody but the attacker, whose own is `attackers`."""

    def __init__(self) -> None:
        ours, theirs = sockets.socketpair()
        with ours, theirs:
            super().__init__(command=_command("pass", ours), shared=ours.fileno())
            self.attackers = Upstream(command=_command("take", theirs), shared=theirs.fileno())

    def close(self) -> None:
        super().close()
        self.attackers.close()


def _command(role: str, channel: sockets.socket) -> tuple[str, ...]:
    return "tests.chaos.parted_upstream", role, str(channel.fileno())


class Passing(Server):
    """The first process's server."""

    def __init__(self, channel: sockets.socket, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._channel = channel

    def handle(self, sock: Any, address: Any) -> None:
        """Serve a connection, or pass it on."""
        if _model(sock) == ATTACKERS_MODEL.encode():
            sockets.send_fds(self._channel, [b"."], [sock.fileno()])
        else:
            super().handle(sock, address)


class Taking(Server):
    """The second process's server; besides its own connections it serves those that the first one passes on."""

    def __init__(self, channel: sockets.socket, *arguments: Any) -> None:
        super().__init__(*arguments)
        gevent.spawn(self._take, channel)

    def _take(self, channel: sockets.socket) -> None:
        while True:
            socket.wait_read(channel.fileno())
            data, descriptors, _, _ = sockets.recv_fds(channel, 1, 1)
            if not data:
                return  # the other process has ended
            (descriptor,) = descriptors
            self.do_handle(socket.socket(fileno=descriptor), ("127.0.0.1", 0))


def _model(sock: Any) -> bytes:
    """Return the model of the first turn on a connection, without taking anything from it; nothing if it has none."""
    while True:
        begun: bytes = sock.recv(_PEEKED_BYTES, sockets.MSG_PEEK)
        if found := _MODEL.search(begun):
            return found[1]
        if not begun.startswith(_TURN) or len(begun) == _PEEKED_BYTES:
            return b""
        gevent.sleep(0.001)


_SERVERS: dict[str, Callable[..., Server]] = {"pass": Passing, "take": Taking}

if __name__ == "__main__":
    role, descriptor, *others = sys.argv[1:]
    shared = sockets.socket(fileno=int(descriptor))
    main(others, partial(_SERVERS[role], shared))
