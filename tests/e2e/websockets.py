"""WebSockets to a gateway: messages, the events that answer them, and what is left when they have gone."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.e2e.harness import DEADLINE_S, KEY, MODEL, Gateway, wait_until
from tests.e2e.scrape import scrape, total

Event = dict[str, Any]

PATH = "/v1/responses"
LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
FINAL = 0x80


def dial(gateway: Gateway, key: str = KEY, **headers: str) -> Connection:
    """Open a WebSocket as a client library does."""
    return connect(
        f"ws://127.0.0.1:{gateway.port}{PATH}",
        additional_headers={"Authorization": f"Bearer {key}", **headers},
        max_size=None,
        open_timeout=DEADLINE_S,
        close_timeout=DEADLINE_S,
        proxy=None,
    )


def send(client: Connection, **body: Any) -> None:
    client.send(json.dumps({"type": "response.create", "model": MODEL, **body}))


def events(client: Connection) -> list[Event]:
    """The events up to the last one of an answer."""
    return [*_events(client)]


def _events(client: Connection) -> Iterator[Event]:
    while True:
        message = client.recv(DEADLINE_S)
        assert isinstance(message, str)
        event = json.loads(message)
        yield event
        if event["type"] in LAST:
            return


def ask(client: Connection, **body: Any) -> list[Event]:
    send(client, **body)
    return events(client)


def whole(client: Connection, **body: Any) -> Event:
    """The response of the last event."""
    last = ask(client, **body)[-1]
    assert last["type"] == "response.completed", last
    response: Event = last["response"]
    return response


def failure(client: Connection, **body: Any) -> tuple[int, str, str | None]:
    """Status, code and field of an error event."""
    (event,) = ask(client, **body)
    assert event["type"] == "error", event
    error = event["error"]
    assert {"message", "type", "param", "code", "retryable"} <= set(error)
    return event["status"], error["code"], error["param"]


def until(client: Connection, kind: str) -> Event:
    """Read up to an event of this type."""
    for event in _events(client):
        if event["type"] == kind:
            return event
    raise AssertionError(f"no {kind}")


def await_nothing_left(gateway: Gateway) -> None:
    """Wait until no turn runs, no slot is taken, and no WebSocket is open."""

    def is_at_rest() -> bool:
        child = gateway.health()
        samples = scrape(gateway)
        return (
            child["running"] == child["waiting"] == 0
            and total(samples, "codex_websockets_open") == 0
            and total(samples, "codex_websocket_answer_bytes") == 0
            and total(samples, "codex_streams_active") == 0
        )

    wait_until(is_at_rest, "nothing is left of the WebSockets")


class RawSocket:
    """A WebSocket of bytes, for what no library would send."""

    def __init__(
        self,
        gateway: Gateway,
        ahead: bytes = b"",
        room: int = 0,
        headers: Mapping[str, str] = MappingProxyType({}),
        version: str = "1.1",
    ) -> None:
        self.socket = socket.socket()
        if room:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(("127.0.0.1", gateway.port))
        self.socket.sendall(handshake(headers, version) + ahead)
        self._file = self.socket.makefile("rb")
        self.head = b"".join(iter(self._file.readline, b"\r\n"))

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    def frame(self) -> tuple[int, bytes]:
        """The next frame: its kind, and what is in it."""
        first, length = self._read(2)
        if length == 126:
            (length,) = struct.unpack("!H", self._read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._read(8))
        return first & 0xF, self._read(length)

    def closed_with(self) -> int:
        """Read up to the frame that ends it; return its code."""
        while True:
            kind, data = self.frame()
            if kind == CLOSE:
                code: int = struct.unpack("!H", data[:2])[0]
                return code

    def event(self) -> Event:
        """The next event; pings are passed over."""
        while True:
            kind, data = self.frame()
            if kind == TEXT:
                event: Event = json.loads(data)
                return event
            assert kind == PING, (kind, data)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ConnectionResetError
        return data

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def handshake(headers: Mapping[str, str], version: str = "1.1") -> bytes:
    given = {
        "Host": "test",
        "Authorization": f"Bearer {KEY}",
        "Connection": "keep-alive, Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **headers,
    }
    lines = [
        f"GET {PATH} HTTP/{version}",
        *(f"{name}: {value}" for name, value in given.items() if value),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def masked(data: bytes, kind: int = TEXT, *, final: bool = True, mask: bool = True) -> bytes:
    """One frame of a client's, whose mask changes nothing."""
    first, bit = kind | (FINAL if final else 0), 0x80 if mask else 0
    size = len(data)
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + (bytes(4) if mask else b"") + data


def message(**body: Any) -> bytes:
    return json.dumps({"type": "response.create", "model": MODEL, **body}).encode()
