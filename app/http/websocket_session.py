"""WebSocket session: one connection from its handshake on, and each of its messages as a request of its own.

A message is what the body of a POST is elsewhere, and goes the same way: keys, maintenance, limits, its own record and
log line, admission. Only what carries the answer differs: events are messages, and an error that would be an HTTP
response is an event, after which the connection goes on. One message is answered at a time; the next waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

import orjson
from wsproto.frame_protocol import CloseReason

from app.answer_store.connection_answers import ConnectionAnswers
from app.errors import GatewayError, InvalidRequest
from app.http.cors import EXPOSED
from app.http.request_context import current_request
from app.http.request_lifetime import CARRIER, RequestLifetime
from app.http.websocket_connection import WebSocketConnection
from app.http.websocket_frames import error_event, in_stream, text_frame
from app.http.wire import Payload

_OF_THE_HANDSHAKE = frozenset(
    {
        *("CONTENT_LENGTH", "HTTP_CONNECTION", "HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING"),
        *("HTTP_UPGRADE", "HTTP_X_REQUEST_ID"),
    }
)
_OF_THE_FIRST_REQUEST = ("HTTP_SEC_WEBSOCKET_", "gateway.", "werkzeug.")
_SHOWN_HEADERS = frozenset(EXPOSED)

_End: TypeAlias = tuple[CloseReason, str]
_RESTARTS = (CloseReason.SERVICE_RESTART, "This connection ends here. Connect again.")
_IDLE = (CloseReason.GOING_AWAY, "Nothing was asked for long. Connect again.")
_OLD = (CloseReason.GOING_AWAY, "This connection is as old as it may be. Connect again.")
_TOO_LONG = (CloseReason.MESSAGE_TOO_BIG, "The message is too long, or did not arrive in time.")
_LEFT = (CloseReason.NORMAL_CLOSURE, "")


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits of one connection, in seconds; `tick_s` is the silence after which it is given a sign of life.

    `message_bytes`: what is thrown away of a message that was refused.
    """

    idle_s: float
    age_s: float
    tick_s: float
    message_bytes: int


class WebSocketSession(Iterator[bytes]):
    """The body of the response that upgrades a connection: one empty item, then all the rest past gunicorn.

    `is_silent` tells short messages that nobody answers: they are no requests.
    The message at hand says its `stream_id`, and which answer it `continues`. `carried` is its request.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        environ: dict[str, Any],
        lifetime: RequestLifetime,
        limits: SessionLimits,
        answers: ConnectionAnswers,
        is_silent: Callable[[bytes], bool],
    ) -> None:
        self.answers = answers
        self.stream_id: str | None = None
        self.continues: str | None = None
        self.carried: RequestLifetime | None = None
        self._application = application
        self._lifetime = lifetime
        self._limits = limits
        self._is_silent = is_silent
        self._ends_at = time.monotonic() + limits.age_s
        self._socket = environ["gunicorn.socket"]
        self._environ = {
            name: value
            for name, value in environ.items()
            if name not in _OF_THE_HANDSHAKE and not name.startswith(_OF_THE_FIRST_REQUEST)
        }
        self._connection: WebSocketConnection | None = None
        self._has_begun = self._is_ending = False

    def __next__(self) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            return b""  # gunicorn makes the head of the response now
        self._run()
        raise StopIteration

    def frame(self, payload: Payload) -> bytes:
        """Return an event as a message."""
        return text_frame(in_stream(payload[1], self.stream_id))

    def end(self) -> None:
        """End the connection as soon as it is idle; for the worker. Does not block."""
        self._is_ending = True
        if self._connection is not None:
            self._connection.wake()

    def _on_left(self) -> None:
        """Let the request at hand know that its client is gone. Runs in the hub."""
        if self._connection is not None:
            self._connection.note_left()
        carried, self.carried = self.carried, None
        if carried is not None:
            carried.on_disconnect()

    def _run(self) -> None:
        self._socket.upgraded = self
        self._lifetime.instead = self._on_left
        self._socket.send_held()
        connection = self._connection = WebSocketConnection(self._socket, self._on_left)
        end = _RESTARTS
        try:
            end = self._serve(connection)
        except OSError:
            connection.note_left()
        except GatewayError:  # the worker ends what hangs
            pass
        finally:
            self.answers.clear()
            connection.close(*end)

    def _serve(self, connection: WebSocketConnection) -> _End:
        """Answer one message after the other; return how and why that ends."""
        while True:
            end = self._await_message(connection)
            if end is not None:
                return end
            self._answer(connection)
            if connection.has_left:
                return _LEFT
            if not connection.skip_rest(self._limits.message_bytes):
                return _TOO_LONG
            if self._socket.is_last():  # with old settings, and keys that may be gone
                return _RESTARTS

    def _await_message(self, connection: WebSocketConnection) -> _End | None:
        """Block until there is a message, or return why none is waited for."""
        idle_until = time.monotonic() + self._limits.idle_s
        self._socket.idle.add_upgraded(self._socket, time.monotonic())
        try:
            while True:
                now = time.monotonic()
                if connection.has_left:
                    return _LEFT
                if now >= self._ends_at:
                    connection.send(text_frame(_too_old(self._limits.age_s)))
                    return _OLD
                if connection.has_message:
                    return None
                if self._is_ending:
                    return _RESTARTS
                if now >= idle_until:
                    return _IDLE
                left_s = min(idle_until, self._ends_at) - now
                if not connection.wait(min(left_s, self._limits.tick_s)):
                    connection.ping()
        finally:
            self._socket.idle.remove(self._socket)

    def _answer(self, connection: WebSocketConnection) -> None:
        """Let the application answer a message. Raises `OSError` where the client does not take it."""
        self.stream_id = self.continues = None
        self._socket.queue.wait(self._socket.caller)  # as every request of the caller's does
        if connection.has_left or connection.skip_short(self._is_silent):
            return
        connection.begin_message()
        head = _Head()
        environ = {
            **self._environ,
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": "application/json",
            "wsgi.input": connection,
            CARRIER: self,
        }
        try:
            with closing(self._application(environ, head.start)) as items:
                if head.is_error:
                    self.answers.forget(self.continues)
                    event = head.event(b"".join(items))
                    connection.send(text_frame(in_stream(event, self.stream_id)))
                    return
                for frames in items:
                    connection.send(frames)
        finally:
            self.carried = None


class _Head:
    """The head of a response, which goes nowhere but into an event."""

    def __init__(self) -> None:
        self._status = 0
        self._headers: Mapping[str, str] = {}

    def start(self, status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
        """Take it, as WSGI's `start_response`."""
        self._status = int(status.partition(" ")[0])
        lowered = ((name.lower(), value) for name, value in headers)
        self._headers = {name: value for name, value in lowered if name in _SHOWN_HEADERS}

    @property
    def is_error(self) -> bool:
        """True if the body is an error."""
        return self._status >= HTTPStatus.BAD_REQUEST

    def event(self, body: bytes) -> bytes:
        """Return the error as an event."""
        return error_event(self._status, orjson.loads(body)["error"], self._headers)


def _too_old(age_s: float) -> bytes:
    minutes = f"{age_s / 60:g}"
    error = InvalidRequest(
        f"Responses websocket connection limit reached ({minutes} minutes). Create a new websocket connection to "
        "continue.",
        code="websocket_connection_limit_reached",
    )
    return error_event(error.status, error.to_envelope()["error"], {})


def current_session() -> WebSocketSession | None:
    """Return the session that carries the request being served, None where that has a connection of its own."""
    session: WebSocketSession | None = current_request().environ.get(CARRIER)
    return session
