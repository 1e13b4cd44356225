"""HTTP connection of a load generator: one request, one answer, as few steps as possible while the clock runs.

It only looks for the first text and for the end; chunks and JSON are taken apart afterwards. Kept open between answers
where the server keeps it open.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from gevent import socket

from bench.jobs import AnswerError

_READ_BYTES = 256 * 1024
_FIRST_TEXT = re.compile(rb'"content": ?"[^"]')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_DONE = b"data: [DONE]"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Received:
    """One answer: the times of asking, of the first text and of the end, and every byte of it."""

    asked: float
    first: float
    ended: float
    data: bytes

    def body(self) -> bytes:
        """Return the body without its chunks."""
        head, _, body = self.data.partition(b"\r\n\r\n")
        return _unchunked(body) if _CHUNKED.search(head) else body

    def frames(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON of each frame of a stream."""
        for frame in self.body().replace(b"\r\n", b"\n").split(b"\n\n"):
            if frame.startswith(b"data: {"):
                yield orjson.loads(frame[6:])


def encode_request(port: int, key: str, body: dict[str, Any]) -> bytes:
    """Return the bytes of a chat request."""
    encoded = orjson.dumps(body)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(encoded)}\r\n\r\n"
    )
    return head.encode() + encoded


class HttpConnection:
    """One connection to a port of this machine, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._socket: socket.socket | None = None

    def ask(self, request: bytes, *, streamed: bool) -> Received:
        """Send the request and read the answer to its end. Blocks; raises `AnswerError`, then on a new connection."""
        try:
            return self._ask(request, streamed=streamed)
        except (AnswerError, OSError):
            self.close()
            raise

    def _ask(self, request: bytes, *, streamed: bool) -> Received:
        connection = self._connected()
        received = bytearray()
        first = ended = 0.0
        whole_at: int | None = None
        asked = time.perf_counter()
        connection.sendall(request)
        while not received.endswith(_LAST_CHUNK) and len(received) != whole_at:
            data = connection.recv(_READ_BYTES)
            if not data:
                self.close()  # where no length is given, that is the end
                break
            searched = max(0, len(received) - len(_DONE))
            whole_at = whole_at if received else _whole_at(data)
            received += data
            if not first and _FIRST_TEXT.search(received):
                first = time.perf_counter()
            if received.find(_DONE, searched) >= 0:
                ended = time.perf_counter()
        _check(received)
        if _CLOSES.search(received.partition(b"\r\n\r\n")[0]):
            self.close()
        if not streamed:
            first = ended = time.perf_counter()
        if not first or not ended:
            raise AnswerError("a stream without text or without [DONE]")
        return Received(asked, first, ended, bytes(received))

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _check(received: bytearray) -> None:
    if not received.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")):
        line = received.partition(b"\r\n")[0].decode(errors="replace")
        raise AnswerError(line or "the connection was closed")


def _whole_at(data: bytes) -> int | None:
    """Return how long the answer is, where its head says that; the head is in the first bytes that come."""
    head, _, _ = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return len(head) + 4 + int(length[1]) if length else None


def _unchunked(body: bytes) -> bytes:
    parts, at = [], 0
    while at < len(body):
        line_ends = body.index(b"\r\n", at)
        size = int(body[at:line_ends], 16)
        parts.append(body[line_ends + 2 : line_ends + 2 + size])
        at = line_ends + 2 + size + 2
    return b"".join(parts)
