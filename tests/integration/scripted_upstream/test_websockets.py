"""The upstream over a WebSocket, spoken to frame by frame."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripted_upstream.client import Control

ROOT = Path(__file__).parents[3]
HELLO = {"items": [{"type": "message", "deltas": ["hel", "lo"]}]}
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Client:
    """As much of a WebSocket client as a test needs."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.sock = socket.create_connection((parts.hostname, parts.port or 0), timeout=10)
        lines = (
            "GET /v1/responses HTTP/1.1",
            "Host: x",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "session-id: s",
        )
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        self.source = self.sock.makefile("rb")
        self.head = b"".join(iter(self.source.readline, b"\r\n"))

    def frame(self, kind: int, data: bytes, *, final: bool = True) -> None:
        mask = os.urandom(4)
        size = struct.pack("!BH", 0x80 | 126, len(data)) if len(data) > 125 else None
        head = bytes((0x80 * final | kind,)) + (size or bytes((0x80 | len(data),)))
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self.sock.sendall(head + mask + masked)

    def ask(self, **fields: Any) -> list[dict[str, Any]]:
        message = {"type": "response.create", "model": "m", **fields}
        self.frame(TEXT, json.dumps(message).encode())
        return self.answer()

    def answer(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while not found or found[-1]["type"] not in {"response.completed", "error"}:
            found.append(json.loads(self.read()[1]))
        return found

    def read(self) -> tuple[int, bytes]:
        first, size = self.source.read(2)
        if size == 126:
            (size,) = struct.unpack("!H", self.source.read(2))
        return first & 0x0F, self.source.read(size)


def user(text: str) -> dict[str, Any]:
    part = {"type": "input_text", "text": text}
    return {"type": "message", "role": "user", "content": [part]}


def text(events: list[dict[str, Any]]) -> str:
    return "".join(event.get("delta", "") for event in events)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    options = ("--port", "0", "--control", "--until-stdin-closes", "--prompt-cache", "300")
    with subprocess.Popen(
        [sys.executable, "-m", "scripted_upstream", *options],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["url"]
        yield address
        assert Control(address).state()["errors"] == 0
        process.stdin.close()
        assert process.wait(timeout=10) == 0


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    connected = Client(url)
    yield connected
    connected.source.close()
    connected.sock.close()


def test_the_events_of_an_answer_are_messages(url: str, client: Client) -> None:
    Control(url).script("ws-hello", HELLO)
    assert client.head.startswith(b"HTTP/1.1 101 ")
    for _ in range(2):
        events = client.ask(input=[user("ws-hello")])
        assert text(events) == "hello"
        assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_a_continued_request_is_answered_checked_and_counted_as_a_whole(
    url: str, client: Client
) -> None:
    control = Control(url)
    control.script("ws-more", HELLO)
    first = client.ask(input=[user("ws-more " + "x" * 8000)], prompt_cache_key="k")
    before = first[-1]["response"]
    second = client.ask(
        input=[user("and now?")], prompt_cache_key="k", previous_response_id=before["id"]
    )
    usage = second[-1]["response"]["usage"]
    assert text(second) == "hello"
    assert usage["input_tokens"] > before["usage"]["input_tokens"]
    assert usage["input_tokens_details"]["cached_tokens"] >= 1920
    record = control.requests("ws-more")[-1]["body"]
    assert [item["role"] for item in record["input"]] == ["user", "assistant", "user"]
    assert record["previous_response_id"] == before["id"]


def test_bytes_are_counted_as_they_came(url: str, client: Client) -> None:
    control = Control(url)
    control.script("ws-bytes", HELLO)
    before = client.ask(input=[user("ws-bytes " + "x" * 8000)])[-1]["response"]["id"]
    start = control.state()["bytes_received"]
    client.ask(input=[user("short")], previous_response_id=before)
    assert control.state()["bytes_received"] - start < 500


def test_a_warm_up_says_nothing_and_is_continued(url: str, client: Client) -> None:
    Control(url).script("ws-warm", HELLO)
    tokens = Control(url).state()["input_tokens"]
    warm = client.ask(input=[], generate=False)
    assert warm[-1]["response"]["output"] == []
    assert Control(url).state()["input_tokens"] == tokens
    after = client.ask(input=[user("ws-warm")], previous_response_id=warm[-1]["response"]["id"])
    assert text(after) == "hello"


def test_a_response_of_another_connection_is_not_known(url: str, client: Client) -> None:
    other = Client(url)
    response = other.ask(input=[user("hi")])[-1]["response"]["id"]
    other.source.close()
    other.sock.close()
    (event,) = client.ask(input=[user("and?")], previous_response_id=response)
    assert (event["status"], event["error"]["code"]) == (400, "previous_response_not_found")
    # The connection goes on.
    assert client.ask(input=[user("hi")])[-1]["type"] == "response.completed"


def test_what_openai_would_refuse_is_an_error_event(client: Client) -> None:
    (event,) = client.ask(input=[])
    assert (event["status"], event["error"]["param"]) == (400, "input")


def test_pings_are_answered_and_messages_may_come_in_pieces(url: str, client: Client) -> None:
    Control(url).script("ws-pieces", HELLO)
    client.frame(PING, b"there?")
    assert client.read() == (PONG, b"there?")
    message = {"type": "response.create", "model": "m", "input": [user("ws-pieces")]}
    data = json.dumps(message).encode()
    client.frame(TEXT, data[:20], final=False)
    client.frame(0, data[20:])
    assert text(client.answer()) == "hello"


@pytest.mark.parametrize("how", ["close frame", "closed"])
def test_a_client_that_leaves_in_the_middle_is_noticed(url: str, how: str) -> None:
    control = Control(url)
    marker = f"ws-left-{how[5:]}".replace(" ", "-")
    control.script(marker, {**HELLO, "hold": True})
    client = Client(url)
    message = {"type": "response.create", "model": "m", "input": [user(marker)]}
    client.frame(TEXT, json.dumps(message).encode())
    control.wait("held", marker)
    if how == "close frame":
        client.frame(CLOSE, b"")
    client.source.close()
    client.sock.close()
    control.wait("peer_closed", marker)
    control.wait("finished", marker)
    assert control.requests(marker)[0]["outcome"] == "peer_closed"
