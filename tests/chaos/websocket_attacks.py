"""Attacks over WebSockets by one key, each bounded in count and time."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.attacks import held
from tests.chaos.parted_upstream import ATTACKERS_MODEL
from tests.chaos.target import FLOOD_S, Target
from tests.e2e.websockets import PING, masked


@contextlib.contextmanager
def websockets(target: Target, count: int) -> Iterator[list[socket.socket]]:
    """Hold so many WebSockets open."""
    head = target.head(
        "GET /v1/responses",
        *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    with held(target, [head] * count) as connections:
        yield connections


def _over_websockets(target: Target, count: int, data: bytes) -> None:
    """Send the same again and again over so many, and read what comes back."""
    ends = time.monotonic() + FLOOD_S

    def flood(connection: socket.socket) -> None:
        connection.settimeout(0.05)
        while time.monotonic() < ends:
            with contextlib.suppress(TimeoutError):
                connection.sendall(
                    data
                )  # a part of it breaks the next frames, which is an attack, too
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1 << 20):
                    return

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            flood(connection)

    with websockets(target, count) as connections, ThreadPoolExecutor(count) as pool:
        list(pool.map(one, connections))


def websocket_pings(target: Target) -> None:
    _over_websockets(target, 16, masked(b"", PING) * 10_000)


def websocket_tiny_frames(target: Target) -> None:
    frames = masked(b" ", final=False) + masked(b" ", 0, final=False) * 10_000
    _over_websockets(target, 16, frames + masked(b"{}", 0))


def websocket_refusals(target: Target) -> None:
    _over_websockets(target, 16, masked(b"{}") * 1000)


def websocket_large_messages(target: Target) -> None:
    _over_websockets(target, 8, masked(b"[" + b"0," * 5_000_000 + b"0]"))


def websockets_idle(target: Target) -> None:
    with websockets(target, 250):
        time.sleep(FLOOD_S)


def websockets_unread(target: Target) -> None:
    marker = target.upstream.say(*["x" * 65_536] * 400)
    asked = masked(
        json.dumps({"type": "response.create", "model": ATTACKERS_MODEL, "input": marker}).encode()
    )
    with websockets(target, 8) as connections:
        for connection in connections:
            connection.sendall(asked)
        time.sleep(FLOOD_S)


WEBSOCKETS: dict[str, Callable[[Target], None]] = {
    attack.__name__: attack
    for attack in (
        *(websocket_pings, websocket_tiny_frames, websocket_refusals),
        *(websocket_large_messages, websockets_idle, websockets_unread),
    )
}
