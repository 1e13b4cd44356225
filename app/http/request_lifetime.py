"""Lifetime of a request, from the application's first step to the last byte of the answer.

Whatever it takes for that time is given back at its end, exactly once and however it ends: a view that raises, a body
that was never begun (HEAD), a client that left, a worker that kills its greenlets. While our code runs, a client that
leaves interrupts it; while the server writes, it makes the write fail.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Any

from flask import Flask, request
from gevent import getcurrent

from app.http.disconnect import ClientDisconnected, DisconnectWatcher
from app.observability.requests import RequestRecord

_KEY = "gateway.life"
CLIENT_LEFT_STATUS = 499  # nobody is sent this one; it stands in the log, as nginx writes it


class RequestLifetime:
    """One request. `record` is set as soon as there is one."""

    def __init__(
        self, environ: dict[str, Any], watch: DisconnectWatcher, counters: Counter[str]
    ) -> None:
        self.record: RequestRecord | None = None
        self.counters = counters
        self.is_gone = False
        self.inside: Any = None
        """The greenlet in which our code runs, and may be interrupted; None while the server writes."""
        self._socket: Any = environ.get("gunicorn.socket")
        self._watch = watch
        self._ends: list[Callable[[], None]] = []
        self._is_over = False
        self._descriptor = -1
        if self._socket is not None:
            self._descriptor = self._socket.fileno()
            watch.add(self._descriptor, self._peer_is_gone)

    def at_end(self, callback: Callable[[], None]) -> None:
        """Call it when the request is over. It must not block, and must not raise."""
        self._ends.append(callback)

    def _peer_is_gone(self) -> None:
        """Runs in the hub, so the greenlet waits somewhere: in our code, or in a write to the client."""
        self.is_gone = True
        if self.inside is not None:
            self.inside.throw(ClientDisconnected())
        else:
            # Through a copy: gevent would break off the write under way, and gunicorn would log that as an error.
            with suppress(OSError), self._socket.dup() as copy:
                copy.shutdown(SHUT_RDWR)

    def note_loss(self) -> None:
        """The answer did not reach the client, or not all of it: say so in the record, and count it."""
        if self._socket is None:
            return
        reason = getattr(self._socket, "cut_reason", None) or "client_left"
        self.counters[reason] += 1
        if self.record is not None and self.record.outcome == "completed":
            self.record.outcome = reason

    def end(self) -> None:
        """Give everything back. A second call does nothing."""
        if self._is_over:
            return
        self._is_over = True
        self._watch.remove(self._descriptor)
        for callback in reversed(self._ends):
            callback()


def current_lifetime() -> RequestLifetime:
    """Return the life of the request being served."""
    life: RequestLifetime = request.environ[_KEY]
    return life


def init_app(app: Flask, counters: Counter[str]) -> None:
    """Give every request a life, around everything else. `counters` counts the answers that reached nobody."""
    app.wsgi_app = _Lives(app.wsgi_app, counters)  # type: ignore[method-assign]  # Flask's own way


class _Lives:
    """The WSGI middleware."""

    def __init__(self, app: Callable[..., Iterable[bytes]], counters: Counter[str]) -> None:
        self._app = app
        self._counters = counters
        self._watch = DisconnectWatcher()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        life = environ[_KEY] = RequestLifetime(environ, self._watch, self._counters)
        life.inside = getcurrent()
        try:
            return _Body(self._app(environ, start_response), life)
        except ClientDisconnected:
            life.note_loss()
            if life.record is not None:
                life.record.status = CLIENT_LEFT_STATUS
                life.record.write()
            life.end()
            raise _reset() from None
        except BaseException:
            life.end()
            raise
        finally:
            life.inside = None
            # A stream goes on without its request; werkzeug left it here for middleware that we do not have.
            environ.pop("werkzeug.request", None)


class _Body(Iterator[bytes]):
    """The response's body. gunicorn takes it item by item, writes each, and closes it in any case."""

    def __init__(self, body: Iterable[bytes], life: RequestLifetime) -> None:
        self._body = body
        self._items = iter(body)
        self._life = life
        self._is_whole = False

    def __next__(self) -> bytes:
        life = self._life
        if life.is_gone:
            raise _reset()
        life.inside = getcurrent()
        try:
            return next(self._items)
        except StopIteration:
            self._is_whole = True
            raise
        except ClientDisconnected:
            raise _reset() from None
        finally:
            life.inside = None

    def close(self) -> None:
        """End the request: what is not whole by now stays so."""
        if not self._is_whole:
            self._life.note_loss()
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._life.end()


def _reset() -> ConnectionResetError:
    """What gunicorn knows how to take: it closes the connection and logs nothing."""
    return ConnectionResetError(errno.ECONNRESET, "The client left.")
