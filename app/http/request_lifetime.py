"""Lifetime of a request, from the application's first step to the last byte of the answer.

Resources registered here are released when the response is closed, exactly once and however the request ends: a view
that raises, a body that was never begun (HEAD), a client that left, a worker that kills its greenlets. A client that
leaves interrupts our code where that runs, and makes the write fail where the server writes.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from socket import SHUT_RDWR
from typing import Any

from flask import Flask
from gevent import getcurrent

from app.http.disconnect import ClientDisconnected, DisconnectWatcher
from app.observability.requests import RequestRecord

CARRIER = "gateway.carrier"
"""Where a request that came as a message has what carries it, which knows of its client's leaving."""

CLIENT_LEFT_STATUS = 499  # never sent; it stands in the log, as nginx writes it


class RequestLifetime:
    """One request, while it is served. `record` is set as soon as there is one."""

    def __init__(
        self, environ: dict[str, Any], watcher: DisconnectWatcher, counters: Counter[str]
    ) -> None:
        self.record: RequestRecord | None = None
        self.counters = counters
        self.client_gone = False
        self.greenlet: Any = None
        """The one in which our code runs, and may be interrupted; None while the server writes."""
        self.instead: Callable[[], None] | None = None
        """Called in place of `on_disconnect`, in the hub, by a response that is a connection of its own."""
        self._socket: Any = environ.get("gunicorn.socket")
        self._watcher = watcher
        self._releases: list[Callable[[], None]] = []
        self._is_over = False
        self._descriptor = -1
        if (carrier := environ.get(CARRIER)) is not None:
            carrier.carried = self
        elif self._socket is not None:
            self._descriptor = self._socket.fileno()
            watcher.add(self._descriptor, self.on_disconnect)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call it when the request is over. It must not block, and must not raise."""
        self._releases.append(callback)

    def hand_over(self) -> Callable[[], None]:
        """Return what releases all that was registered so far; from now on that is the caller's to do."""
        releases, self._releases = self._releases, []

        def release() -> None:
            for callback in reversed(releases):
                callback()

        return release

    def on_disconnect(self) -> None:
        """Interrupt what waits: our code, or a write to the client. Runs in the hub, so one of the two does."""
        if self.instead is not None:
            self.instead()
            return
        self.client_gone = True
        if self.greenlet is not None:
            self.greenlet.throw(ClientDisconnected())
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

    def close(self) -> None:
        """Release everything, the last thing first. A second call does nothing."""
        if self._is_over:
            return
        self._is_over = True
        self._watcher.remove(self._descriptor)
        for callback in reversed(self._releases):
            callback()


_CURRENT: ContextVar[RequestLifetime | None] = ContextVar("lifetime", default=None)
"""As Flask keeps its request, but without a proxy before it: it is asked for dozens of times."""


lifetime_if_any: Callable[[], RequestLifetime | None] = _CURRENT.get
"""Return the lifetime of the request being served; None where there is none."""


def current_lifetime() -> RequestLifetime:
    """Return the lifetime of the request being served."""
    lifetime = _CURRENT.get()
    if lifetime is None:
        raise RuntimeError("no request is being served")
    return lifetime


def record_if_any() -> RequestRecord | None:
    """Return the record of the request being served; None where there is none, or no record yet."""
    lifetime = _CURRENT.get()
    return None if lifetime is None else lifetime.record


def init_app(app: Flask, counters: Counter[str]) -> None:
    """Give every request a lifetime, around everything else. `counters` counts the answers that were not taken."""
    app.wsgi_app = _LifetimeMiddleware(app.wsgi_app, counters)  # type: ignore[method-assign]  # Flask's own way


class _LifetimeMiddleware:
    """The WSGI middleware."""

    def __init__(self, app: Callable[..., Iterable[bytes]], counters: Counter[str]) -> None:
        self._app = app
        self._counters = counters
        self._watcher = DisconnectWatcher()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        lifetime = RequestLifetime(environ, self._watcher, self._counters)
        lifetime.greenlet = getcurrent()
        before = _CURRENT.set(lifetime)
        try:
            return _Body(self._app(environ, start_response), lifetime)
        except ClientDisconnected:
            lifetime.note_loss()
            if lifetime.record is not None:
                lifetime.record.status = CLIENT_LEFT_STATUS
                lifetime.record.write()
            lifetime.close()
            raise _reset() from None
        except BaseException:
            lifetime.close()
            raise
        finally:
            _CURRENT.reset(before)
            lifetime.greenlet = None
            # A stream goes on without its request; werkzeug left it here for middleware that we do not have.
            environ.pop("werkzeug.request", None)


class _Body(Iterator[bytes]):
    """The response's body. gunicorn takes it item by item, writes each, and closes it in any case."""

    def __init__(self, body: Iterable[bytes], lifetime: RequestLifetime) -> None:
        self._body = body
        self._items = iter(body)
        self._lifetime = lifetime
        self._is_whole = False

    def __next__(self) -> bytes:
        lifetime = self._lifetime
        if lifetime.client_gone:
            raise _reset()
        lifetime.greenlet = getcurrent()
        try:
            return next(self._items)
        except StopIteration:
            self._is_whole = True
            raise
        except ClientDisconnected:
            raise _reset() from None
        finally:
            lifetime.greenlet = None

    def close(self) -> None:
        """End the request: what is not whole by now stays so."""
        if not self._is_whole:
            self._lifetime.note_loss()
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._lifetime.close()


def _reset() -> ConnectionResetError:
    """Return the error at which gunicorn closes the connection and logs nothing."""
    return ConnectionResetError(errno.ECONNRESET, "The client left.")
