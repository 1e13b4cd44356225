"""Connection to one client during one streamed answer: raw writes, and notice of its leaving.

The socket is watched while the answer is being made: the moment at which codex closes it is noticed
at once, also in the middle of a pause or a hang, not at the next write.
"""

import errno
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Self

import gevent
from gevent.event import Event

_READ = 1
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_GONE = (errno.EPIPE, errno.ECONNRESET)


class PeerLeftError(Exception):
    """The other side closed the connection."""


class Peer:
    """The connection of one request. Use it as a context: leaving it stops the watching."""

    def __init__(self, sock: Any, on_left: Callable[[], None]) -> None:
        self._sock = sock
        self._on_left = on_left
        self._left = Event()
        self._watcher = gevent.get_hub().loop.io(sock.fileno(), _READ)
        self.bytes_sent = 0

    def __enter__(self) -> Self:
        self._watcher.start(self._readable)
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.stop()
        self._watcher.close()

    def __repr__(self) -> str:
        return f"<Peer sent={self.bytes_sent} left={self._left.is_set()}>"

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Write the status line and the headers."""
        lines = [f"HTTP/1.1 {status} {_phrase(status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def chunk(self, data: bytes) -> None:
        """Write a piece of a chunked body; no data ends the body."""
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def write(self, data: bytes) -> None:
        """Write bytes. Blocks while the other side reads slowly; raises `PeerLeftError`."""
        if self._left.is_set():
            raise PeerLeftError
        try:
            self._sock.sendall(data)
        except OSError as exc:
            if exc.errno not in _GONE:
                raise
            self._leave()
            raise PeerLeftError from exc
        self.bytes_sent += len(data)

    def pause(self, seconds: float | None) -> None:
        """Wait; None means for ever. Raises `PeerLeftError` as soon as the other side leaves."""
        if self._left.wait(seconds):
            raise PeerLeftError

    def await_release(self, gate: Event) -> None:
        """Wait until the gate opens; raises `PeerLeftError` as soon as the other side leaves."""
        gevent.wait([gate, self._left], count=1)
        if self._left.is_set():
            raise PeerLeftError

    def reset_on_close(self) -> None:
        """Make the coming close an abrupt one: RST, and unsent data is thrown away."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _readable(self) -> None:
        """Runs in the hub: readable means that the other side left, or sent something early."""
        self._watcher.stop()
        try:
            early = self._sock.recv(1, socket.MSG_PEEK)
        except OSError:
            early = b""
        if not early:
            self._leave()

    def _leave(self) -> None:
        if not self._left.is_set():
            self._left.set()
            self._on_left()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
