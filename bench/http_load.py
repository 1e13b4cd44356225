"""The gateway's load generator: `python -m bench.http_load PORT` (the key comes in the environment).

Raw sockets, one kept-alive connection for each client. While the clock runs it only looks for the first frame with
text and for the end; chunks and JSON are taken apart afterwards.
"""

from __future__ import annotations

import os
import re
import sys
import time

import orjson
from gevent import socket

from bench import jobs
from bench.jobs import Answer, AnswerError, Job

KEY_VARIABLE = "BENCH_KEY"

_READ_BYTES = 256 * 1024
_FIRST_TEXT = re.compile(rb'"content":"[^"]')
_DONE = b"data: [DONE]"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class HttpClient:
    """One connection, one request that is sent again and again."""

    def __init__(self, port: int, key: str, job: Job) -> None:
        body = orjson.dumps(
            {
                "model": job.model,
                "messages": [{"role": "user", "content": job.prompt}],
                "stream": True,
            }
        )
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\n"
            f"Authorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._request = head.encode() + body
        self._address = ("127.0.0.1", port)
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def ask(self) -> Answer:
        """Send the request and read the stream to its end. Raises `AnswerError`, then on a new connection."""
        try:
            return self._ask()
        except (AnswerError, OSError):
            self._socket.close()
            self._socket = self._connect()
            raise

    def _ask(self) -> Answer:
        received = bytearray()
        first = ended = 0.0
        asked = time.perf_counter()
        self._socket.sendall(self._request)
        while not received.endswith(_LAST_CHUNK):
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise AnswerError("the connection was closed")
            searched = max(0, len(received) - len(_DONE))
            received += data
            if not first:
                if not received.startswith(b"HTTP/1.1 200 "):
                    raise AnswerError(received.partition(b"\r\n")[0].decode(errors="replace"))
                if _FIRST_TEXT.search(received):
                    first = time.perf_counter()
            if received.find(_DONE, searched) >= 0:
                ended = time.perf_counter()
        if not first or not ended:
            raise AnswerError("a stream without text or without [DONE]")
        return Answer(asked, first, ended, lambda: texts(received))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def texts(received: bytearray) -> list[str]:
    """Return the deltas of one whole response, byte for byte as a client would see them."""
    body = _unchunked(bytes(received).partition(b"\r\n\r\n")[2])
    frames = [frame for frame in body.split(b"\n\n") if frame.startswith(b"data: {")]
    choices = [orjson.loads(frame[6:]).get("choices") for frame in frames]
    found = [choice[0]["delta"].get("content") for choice in choices if choice]
    return [text for text in found if text]


def _unchunked(body: bytes) -> bytes:
    parts, at = [], 0
    while at < len(body):
        line_ends = body.index(b"\r\n", at)
        size = int(body[at:line_ends], 16)
        parts.append(body[line_ends + 2 : line_ends + 2 + size])
        at = line_ends + 2 + size + 2
    return b"".join(parts)


def main() -> None:
    """Do jobs against the gateway on the given port."""
    port, key = int(sys.argv[1]), os.environ[KEY_VARIABLE]
    jobs.serve(lambda job: HttpClient(port, key, job))


if __name__ == "__main__":
    main()
