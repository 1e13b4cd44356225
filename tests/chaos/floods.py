"""Floods of small requests and connections, by one key and by strangers, hundreds at a time."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.chaos.target import CHAT, FLOOD_S, METRICS_KEY, Target, chat

MANY = 500
"""Connections at a time."""

CROWD = 900
"""As many as a client may have with the default limit of descriptors."""


class Flood:
    """Connections to the target, each with `first` to say, and then `more` for ever. An answered one is replaced."""

    def __init__(self, target: Target, first: bytes, more: bytes = b"") -> None:
        self._target = target
        self._first, self._more = first, more
        self._selector = selectors.DefaultSelector()

    def run(self, count: int, seconds: float = FLOOD_S) -> None:
        """Keep so many connections busy for a while. Blocks."""
        ends_at = time.monotonic() + seconds
        with self._selector:
            for _ in range(count):
                self._open()
            while time.monotonic() < ends_at:
                for key, events in self._selector.select(0.1):
                    self._go_on(key, events)
            for key in list(self._selector.get_map().values()):
                self._close(key)

    def _open(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", self._target.port))
        self._selector.register(connection, selectors.EVENT_WRITE, memoryview(self._first))

    def _close(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()

    def _go_on(self, key: selectors.SelectorKey, events: int) -> None:
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        is_over = bool(events & selectors.EVENT_READ)
        with contextlib.suppress(BlockingIOError):
            try:
                if events & selectors.EVENT_WRITE and not is_over:
                    left = key.data[connection.send(key.data) :] or memoryview(self._more)
                    both = (
                        selectors.EVENT_READ | selectors.EVENT_WRITE
                        if left
                        else selectors.EVENT_READ
                    )
                    self._selector.modify(connection, both, left)
            except OSError:
                is_over = True
        if is_over:
            with contextlib.suppress(OSError):
                self._target.note(connection.recv(4096))
            self._close(key)
            self._open()


def _flood(
    first: Callable[[Target], bytes], more: bytes = b"", count: int = MANY
) -> Callable[[Target], None]:
    return lambda target: Flood(target, first(target), more).run(count)


def _endless(key: str | None) -> Callable[[Target], bytes]:
    return lambda target: target.head(f"POST {CHAT}", "Transfer-Encoding: chunked", key=key)


_CHUNKS = b"1\r\na\r\n" * 10_000
_COOKIES = "Cookie: " + "; ".join(["a=b"] * 1_500)
_EXPECT = "Expect: 100-continue"


def silent_connections(target: Target) -> None:
    ends_at = time.monotonic() + FLOOD_S
    held: list[socket.socket] = []
    while time.monotonic() < ends_at:
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", target.port))
        held.append(connection)
        if len(held) > MANY:
            held.pop(0).close()
    for connection in held:
        connection.close()


def heads_dripped(target: Target) -> None:
    ends_at = time.monotonic() + FLOOD_S
    with ExitStack() as held:
        connections = [held.enter_context(target.connect()) for _ in range(MANY)]
        for connection in connections:
            connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        while time.monotonic() < ends_at:
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.sendall(b"a")


FLOODS: dict[str, Callable[[Target], None]] = {
    "silent_connections": silent_connections,
    "heads_dripped": heads_dripped,
    "refused_by_hundreds": _flood(lambda target: target.request(b"{}", key="wrong")),
    "malformed_heads": _flood(lambda _: b"GET / HTTP/9.9\r\nbroken\r\n\r\n", count=200),
    "heads_only": _flood(lambda target: target.head("HEAD /v1/models", key="wrong")),
    "cookies_by_thousands": _flood(
        lambda target: target.head("GET /v1/models", *[_COOKIES] * 20, key="wrong")
    ),
    "expecting_by_strangers": _flood(
        lambda target: target.head("POST " + CHAT, _EXPECT, key="wrong", length=1000)
    ),
    "expecting_with_a_key": _flood(
        lambda target: target.head("POST " + CHAT, _EXPECT, length=1000)
    ),
    "tiny_chunks_by_strangers": _flood(_endless("wrong"), _CHUNKS, count=100),
    "tiny_chunks_with_a_key": _flood(_endless(None), _CHUNKS, count=100),
    "mistakes_with_a_key": _flood(lambda target: target.request(chat(temperature=9))),
    "metrics_with_a_key": _flood(lambda target: target.head("GET /metrics", key=METRICS_KEY)),
}

CROWDS: dict[str, Callable[[Target], None]] = {
    "half_sent_heads": _flood(lambda _: b"GET /livez HTTP/1.1\r\nX: a", count=CROWD),
    "half_sent_heads_with_a_key": _flood(lambda target: target.head()[:-2], count=CROWD),
    "a_crowd_refused": _flood(lambda target: target.request(b"{}", key="wrong"), count=CROWD),
    "half_sent_bodies": _flood(
        lambda target: target.head("POST " + CHAT, length=1000, key="wrong") + b"{", count=CROWD
    ),
    "half_sent_bodies_with_a_key": _flood(
        lambda target: target.head(length=1000) + b"{", count=CROWD
    ),
    "idle_ones_with_a_key": _flood(lambda target: target.head("GET /v1/models"), count=CROWD),
}
"""Floods of more connections than there are places, where few files may be open."""
