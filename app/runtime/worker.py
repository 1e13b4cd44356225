"""Worker class over gunicorn's gevent worker: JSON errors, deadlines for clients, turns, eviction of connections.

A request that never reaches the application is answered in JSON too. No client can make a connection wait for it
without an end (`client_socket.py`). And connections that only wait for a request are closed where they are in the
way: a worker that retires would wait for them until its grace is over and then be killed, since every client library
keeps its connections open; and one that has no room left would accept no more. gunicorn serves what a connection has
sent ahead without a pause; here each request waits for its caller's turn (`loop_queue.py`), where everybody without a
key is one caller, and health checks are another.

Loaded by gunicorn's master, too, which must not load the application: so it imports nothing that does.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Hashable
from contextlib import nullcontext, suppress
from functools import partial
from http import HTTPStatus
from socket import SHUT_RD, SHUT_RDWR, socket
from typing import Any, cast

import gevent.events  # noqa: F401 - which `patch` needs, and could not find
from gunicorn import util
from gunicorn.workers.ggevent import GeventWorker

from app.runtime.client_socket import ClientSocket, SlowHead
from app.runtime.first_bytes import HEALTH_CHECKS
from app.runtime.idle_connections import IdleConnections
from app.runtime.loop_queue import LoopQueue
from app.runtime.unread_body import UnreadBody, throw_away

_SENTENCES = {
    408: "The request's head did not arrive in time.",
    414: "The request's URL is too long.",
    429: "This gateway has as many connections as it may have; try again shortly.",
    431: "The request's headers are too long or too many.",
    500: "This gateway made a mistake before it could read the request.",
    501: "The request uses a transfer coding that this gateway does not know.",
}

_KINDS = {
    408: ("invalid_request_error", "HEAD_TIMEOUT"),
    429: ("rate_limit_error", "WORKER_BUSY"),
    500: ("server_error", "INTERNAL_ERROR"),
}

_MOMENT_S = 0.25
"""How long a connection is let be when room runs out: a client that has just connected is about to ask."""

_SERVED_MOMENT_S = 0.025
"""The same for one that was answered."""


_PACKAGES = ("site-packages", "dist-packages")


class Captured:
    """Substitute for the client's socket that keeps what gunicorn writes: its own HTML answer."""

    def __init__(self) -> None:
        self.written = b""

    def sendall(self, data: bytes) -> None:
        """Keep `data`."""
        self.written += data

    def gettimeout(self) -> float:
        """Return what a non-blocking socket does, so that nothing is changed on it."""
        return 0.0

    def status(self) -> int:
        """Return the status that gunicorn chose; 400 if it wrote none."""
        words = self.written.split(b" ", 2)
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 400


class Worker(GeventWorker):
    """gunicorn's worker with the changes that the module describes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.queue = LoopQueue()
        self._idle: IdleConnections[ClientSocket] = IdleConnections()
        self._strangers: IdleConnections[ClientSocket] = IdleConnections()
        self._is_full = lambda: self.is_full  # one object for all requests
        self._is_leaving = lambda: not self.alive

    def init_process(self) -> None:
        """Serve; from here on nothing changes the settings, which gunicorn looks up again and again."""
        vars(self.cfg).update({name: it.get() for name, it in self.cfg.settings.items()})
        super().init_process()

    def patch(self) -> None:
        """Patch the standard library, and nothing but it.

        gevent asks 25 times for plugins that would have a say, by reading the metadata of every installed package,
        which takes a tenth of a second. Without the packages there are none to be read.
        """
        paths = sys.path[:]
        sys.path[:] = [path for path in paths if not path.endswith(_PACKAGES)]
        try:
            super().patch()
        finally:
            sys.path[:] = paths

    def timeout_ctx(self) -> Any:
        """Set no deadline: the connection has its own, and tells an idle client from a slow one."""
        return nullcontext()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection to its end."""
        self._idle.add(client, time.monotonic(), was_served=False)
        client.idle, client.is_last = self._idle, self._is_leaving
        try:
            with suppress(OSError):  # the client has gone, which gunicorn will see, too
                client.await_turn()  # what gunicorn makes for a connection costs more than to accept it
            super().handle(listener, client, addr)
        finally:
            self._idle.remove(client)
            self._strangers.remove(client)
            if client.cut_reason is not None:
                self.note_cut(client.cut_reason)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """Serve one request of a connection, when it is its caller's turn."""
        self._idle.remove(sock)
        self.know(sock, self.caller_of(_authorization(req)))
        if sock.caller is None:
            self._strangers.add(sock, time.monotonic(), was_served=True)
        self.queue.wait(_line(sock, req.path))
        sock.await_body()
        body = UnreadBody(req, self._is_full)
        req.should_close = partial(
            _should_close, sock, body
        )  # the one question before gunicorn writes the headers
        sock.hold_head()
        sock.take_ahead = req.unreader.take_buffered
        try:
            result = super().handle_request(listener_name, req, sock, addr)
            sock.send_held()
        except StopIteration:  # gunicorn's word for: close this connection
            with suppress(OSError):  # it may be closed already
                sock.send_held()
            if body.is_left():
                self._linger(sock)
            raise
        finally:
            sock.drop_held()
            del req.should_close
            self._strangers.remove(sock)
        sock.await_next(has_begun=req.unreader.buf.getbuffer().nbytes > 0)
        self._idle.add(sock, time.monotonic(), was_served=True)
        return result

    def _linger(self, client: ClientSocket) -> None:
        """Let a client read its last answer while it still sends; until then the connection is in nobody's way."""
        client.await_body()
        self._idle.add(client, time.monotonic(), was_served=False)
        throw_away(client)

    def know(self, client: ClientSocket, caller: str | None) -> None:
        """Note whose request a connection brings."""
        client.caller = caller

    def caller_of(self, authorization: str) -> str | None:
        """Return the name of the key in that header, None for a stranger. Called for each request."""
        return None

    @property
    def is_full(self) -> bool:
        """True where no connection more can be accepted: each then ends with its answer."""
        return False

    def note_cut(self, reason: str) -> None:
        """Called when this side ended a connection, with the reason. Must not block."""

    def close_idle(self, for_s: float) -> int:
        """End connections that have been idle for that long; return how many."""
        idle = self._idle.take_since(time.monotonic() - for_s)
        for client in idle:
            client.tell_end(SHUT_RD)
        return len(idle)

    def make_room(self, moments: int = 1) -> bool:
        """End the connection that has waited longest for a request, else one that serves a stranger; False without one.

        One that has waited for so few moments only is let be.
        """
        now = time.monotonic()
        since = now - moments * _MOMENT_S
        while client := self._idle.take_longest(since, now - moments * _SERVED_MOMENT_S):
            if not client.has_asked():
                client.tell_end(SHUT_RD)
                self.note_cut("made_room")
                return True
            # It has asked, and the loop was too busy to see it.
            self._idle.add(client, now, was_served=True)
        if client := self._strangers.take_longest(since, since):
            client.tell_end(SHUT_RDWR)  # it may wait for a client that does not read its answer
            self.note_cut("made_room")
            return True
        return False

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Let gunicorn choose the status, then answer with the error envelope."""
        if isinstance(
            exc, SlowHead
        ):  # counted, not logged: a client that sends thousands must not fill the log
            util.write_nonblock(client, json_answer(HTTPStatus.REQUEST_TIMEOUT))
            return
        captured = Captured()
        super().handle_error(req, cast("socket", captured), addr, exc)
        if captured.written:
            util.write_nonblock(client, json_answer(captured.status()))
            self._linger(client)


def _should_close(client: ClientSocket, body: UnreadBody) -> bool:
    """Return whether a connection ends with this answer: what follows an upgrade is no HTTP any more."""
    return client.upgraded is not None or body.should_close()


def _line(client: ClientSocket, path: str) -> Hashable:
    """Return in which line a request waits: strangers do not wait behind those who ask again and again."""
    if client.caller is not None:
        return client.caller
    return path in HEALTH_CHECKS, client.is_rested


def _authorization(request: Any) -> str:
    """Return the header as the application sees it, of a request as gunicorn has it."""
    return ",".join(value for name, value in request.headers if name == "AUTHORIZATION")


def json_answer(status: int) -> bytes:
    """Return a whole HTTP response with the error envelope."""
    kind, code = _KINDS.get(status, ("invalid_request_error", "INVALID_HTTP"))
    is_retryable = status == HTTPStatus.TOO_MANY_REQUESTS
    body = json.dumps(
        {
            "error": {
                "message": _SENTENCES.get(status, "The request is not valid HTTP/1.1."),
                "type": kind,
                "param": None,
                "code": code,
                "retryable": is_retryable,
            }
        }
    ).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"X-Request-Id: req_{secrets.token_hex(16)}\r\n"
        f"x-should-retry: {str(is_retryable).lower()}\r\n"
    )
    if is_retryable:
        head += "Retry-After: 1\r\n"
    return f"{head}\r\n".encode() + body
