"""WebSocket of the upstream: the handshake, messages of text, and a peer that is answered in them (RFC 6455).

No extensions: what is not offered is not used. One greenlet reads, so that the other side's leaving is noticed at once.
"""

import base64
import hashlib
import struct
from collections.abc import Callable
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Any, Self

import gevent
import orjson
from gevent.event import Event
from gevent.queue import Queue

from scripted_upstream.peer import Peer, PeerLeftError

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _CLOSE, _PING, _PONG = 0, 1, 8, 9, 10
_FINAL = 0x80
_SHORT, _MEDIUM = 125, 126
_OK = 200
_GOING_AWAY = 1001


def accept_key(key: str) -> str:
    """Return what a server says to a client's `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest()).decode()  # noqa: S324 - the protocol's


def encode_frame(kind: int, data: bytes) -> bytes:
    """Return one whole frame of a server's."""
    size = len(data)
    if size <= _SHORT:
        return bytes((_FINAL | kind, size)) + data
    if size < 1 << 16:
        return struct.pack("!BBH", _FINAL | kind, _MEDIUM, size) + data
    return struct.pack("!BBQ", _FINAL | kind, _MEDIUM + 1, size) + data


class WebSocket:
    """One connection after its request. `left` is set once the other side is gone."""

    def __init__(self, sock: Any, source: Any, key: str) -> None:
        self.left = Event()
        self.on_left: Callable[[], None] = lambda: None
        self._sock = sock
        self._source = source
        self._messages: Queue[bytes | None] = Queue()
        head = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        lines = [*head, f"Sec-WebSocket-Accept: {accept_key(key)}", "", ""]
        sock.sendall("\r\n".join(lines).encode())
        self._reader = gevent.spawn(self._read)

    def receive(self) -> bytes | None:
        """Return the next message, None after the last. Blocks."""
        return self._messages.get()

    def send(self, data: bytes) -> None:
        """Send a message of text. Blocks; raises `PeerLeftError`."""
        self._write(_TEXT, data)

    def close(self) -> None:
        """Read no more. The connection itself is the server's to close."""
        self._reader.kill()

    def hang_up(self) -> None:
        """Say that this is the end, as a server does to a connection that was idle for long. Blocks."""
        with suppress(PeerLeftError):
            self._write(_CLOSE, struct.pack("!H", _GOING_AWAY))
        with suppress(OSError):
            self._sock.shutdown(SHUT_RDWR)

    def _write(self, kind: int, data: bytes) -> None:
        if self.left.is_set():
            raise PeerLeftError
        try:
            self._sock.sendall(encode_frame(kind, data))
        except OSError as error:
            self._leave()
            raise PeerLeftError from error

    def _read(self) -> None:
        message = b""
        try:
            while True:
                first, data = self._frame()
                kind = first & 0x0F
                if kind == _CLOSE:
                    break
                if kind == _PING:
                    self._write(_PONG, data)
                elif kind in (_TEXT, _CONTINUATION):
                    message += data
                    if first & _FINAL:
                        self._messages.put(message)
                        message = b""
        except (OSError, EOFError, PeerLeftError):
            pass
        self._leave()

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._exactly(2)
        size = second & 0x7F
        if size == _MEDIUM:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif size > _MEDIUM:
            (size,) = struct.unpack("!Q", self._exactly(8))
        mask = self._exactly(4)  # a client masks everything
        data = self._exactly(size)
        whole = (mask * (size // 4 + 1))[:size]
        plain = int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")
        return first, plain.to_bytes(size, "big")

    def _exactly(self, size: int) -> bytes:
        data: bytes = self._source.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _leave(self) -> None:
        if not self.left.is_set():
            self.left.set()
            self.on_left()
            self._messages.put(None)


class MessagePeer(Peer):
    """The peer of one request on a WebSocket: each event of its answer is a message, and so is a refusal."""

    def __init__(self, websocket: WebSocket, on_left: Callable[[], None]) -> None:
        self._websocket = websocket
        self._left = websocket.left
        self._rest = b""
        self._status = _OK
        self.bytes_sent = 0
        websocket.on_left = on_left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._websocket.on_left = lambda: None

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Remember the status: it is a part of a refusal here."""
        self._status = status

    def chunk(self, data: bytes) -> None:
        """Send the data of each event that has become whole."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            self._send(event.partition(b"data: ")[2])

    def write(self, data: bytes) -> None:
        """Send a refusal."""
        refused = {"type": "error", "status": self._status, **orjson.loads(data)}
        self._send(orjson.dumps(refused))

    def reset_on_close(self) -> None:
        """Do nothing: the connection is cut all the same."""

    def _send(self, data: bytes) -> None:
        self._websocket.send(data)
        self.bytes_sent += len(data)
