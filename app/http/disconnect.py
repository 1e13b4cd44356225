"""Disconnect of a client, noticed when it happens and not at the next write.

The kernel is asked for one thing only: that the other side has closed its end (`EPOLLRDHUP`), or the whole connection.
Data causes no event: neither a body that is still coming nor bytes sent ahead for the next request wake a greenlet, or
hide the end behind them. A client that closes its sending side alone counts as gone: no client library does that and
still wants the answer, and no proxy can tell the difference either.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

import gevent
from gevent.monkey import get_original

_READABLE = 1  # libev's EV_READ
_AT_ONCE = 16
"""Number of clients whose leaving is dealt with in one turn of the loop: each ends a request, some tenths of a ms."""


class ClientDisconnected(BaseException):
    """The client is gone. Raised in the request's greenlet, wherever it waits.

    No `Exception`, for the same reason as `gevent.Timeout`: code that catches everything would go on without a client.
    """


class DisconnectWatcher:
    """All watched connections of a worker, behind one epoll descriptor in the hub's loop.

    Linux only; elsewhere nothing is watched, and a client that left is noticed at the next write to it.
    """

    is_supported = hasattr(select, "EPOLLRDHUP")

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}

    @cached_property
    def _epoll(self) -> Any:
        # gevent takes epoll out of the module that it patches, since no greenlet may wait there. None does: it is
        # polled only once it is readable.
        epoll = get_original("select", "epoll")()
        self._watcher = gevent.get_hub().loop.io(epoll.fileno(), _READABLE, ref=False)
        self._watcher.start(self._poll)
        return epoll

    def add(self, descriptor: int, on_gone: Callable[[], None]) -> None:
        """Call `on_gone` once, in the hub, when the other side of the socket is gone; it must not block."""
        if self.is_supported:
            self._callbacks[descriptor] = on_gone
            self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def remove(self, descriptor: int) -> None:
        """Forget the socket; to be called before it is closed. Does nothing for one that is not watched."""
        if self._callbacks.pop(descriptor, None) is not None:
            with suppress(OSError):  # closed already: the kernel has forgotten it by itself
                self._epoll.unregister(descriptor)

    def _poll(self) -> None:
        # The others stay ready, and are seen when the loop has looked at everything else.
        for descriptor, _ in self._epoll.poll(0, _AT_ONCE):
            # One that is called may end others that were in this list.
            on_gone = self._callbacks.get(descriptor)
            if on_gone is not None:
                on_gone()

    def __repr__(self) -> str:
        return f"<DisconnectWatcher watching={len(self._callbacks)}>"
