"""gunicorn's gevent worker, with two things put right.

A request that never reaches the application is answered in JSON too. And a worker that retires closes connections on
which nobody is asking anything: gunicorn would wait for them until its patience is over and then kill the worker,
since every client library keeps its connections open.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress
from http import HTTPStatus
from socket import SHUT_RD, socket
from typing import Any, cast

import gevent
from gunicorn import util
from gunicorn.http import parser as http_parser
from gunicorn.http.errors import ParseException
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.ggevent import GeventWorker

_DRAIN_BYTES = 64 * 1024
_DRAIN_S = 2.0
_BLOCK_BYTES = 8 * 1024

_SENTENCES = {
    414: "The request's URL is too long.",
    431: "The request's headers are too long or too many.",
    500: "This gateway made a mistake before it could read the request.",
    501: "The request uses a transfer coding that this gateway does not know.",
}


class Captured:
    """Stands in for the client's socket while gunicorn writes its own HTML answer, and keeps what it wrote."""

    def __init__(self) -> None:
        self.written = b""

    def sendall(self, data: bytes) -> None:
        """Keep `data`."""
        self.written += data

    def gettimeout(self) -> float:
        """Say that the socket is non-blocking, so that nothing is changed on it."""
        return 0.0

    def status(self) -> int:
        """Return the status that gunicorn chose; 400 if it wrote none."""
        words = self.written.split(b" ", 2)
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 400


class FairUnreader(SocketUnreader):
    """Lets everybody else run before each read: recv does not yield while data is ready, nor does any deadline fire."""

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return what the socket has."""
        gevent.sleep(0)
        data: bytes = super().chunk(size_hint)  # type: ignore[call-arg]
        return data


def _drain(req: Any) -> bool:
    """Read what the application left of a body, if it is little and comes soon; True if nothing is left.

    gunicorn would read all of it before the next request, however long it is and whoever sent it.
    """
    left = _DRAIN_BYTES
    deadline = gevent.Timeout(_DRAIN_S, False)  # type: ignore[arg-type]  # False: it ends the block without an error
    with deadline, suppress(OSError, ParseException):
        while left > 0:
            data = req.body.read(_BLOCK_BYTES)
            if not data:
                return True
            left -= len(data)
    return False


class Worker(GeventWorker):
    """See the module."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Connections that wait for a request, and since when (monotonic seconds).
        self._idle: dict[Any, float] = {}

    def init_process(self) -> None:
        """Prepare the worker."""
        http_parser.SocketUnreader = FairUnreader  # type: ignore[attr-defined]
        super().init_process()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection to its end."""
        self._idle[client] = time.monotonic()
        try:
            super().handle(listener, client, addr)
        finally:
            self._idle.pop(client, None)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """Serve one request of a connection."""
        self._idle.pop(sock, None)
        result = super().handle_request(listener_name, req, sock, addr)
        if not _drain(req):
            raise StopIteration  # gunicorn's word for: close this connection
        self._idle[sock] = time.monotonic()
        return result

    def close_idle(self, for_s: float) -> int:
        """Tell connections that have been idle for that long that nothing more is read; return how many.

        What a client has sent already is still read and answered.
        """
        limit = time.monotonic() - for_s
        idle = [sock for sock, since in self._idle.items() if since <= limit]
        for sock in idle:
            self._idle.pop(sock, None)
            # Through a copy: gevent would break off the read under way, and gunicorn would log that as an error.
            with suppress(OSError), sock.dup() as copy:
                copy.shutdown(SHUT_RD)
        return len(idle)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Let gunicorn choose the status, then answer with the error envelope."""
        captured = Captured()
        super().handle_error(req, cast("socket", captured), addr, exc)
        if captured.written:
            util.write_nonblock(client, json_answer(captured.status()))


def json_answer(status: int) -> bytes:
    """Return a whole HTTP response with the error envelope."""
    is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED
    body = json.dumps(
        {
            "error": {
                "message": _SENTENCES.get(status, "The request is not valid HTTP/1.1."),
                "type": "server_error" if is_ours else "invalid_request_error",
                "param": None,
                "code": "INTERNAL_ERROR" if is_ours else "INVALID_HTTP",
                "retryable": False,
            }
        }
    ).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"X-Request-Id: req_{secrets.token_hex(16)}\r\n"
        "x-should-retry: false\r\n"
        "\r\n"
    )
    return head.encode() + body
