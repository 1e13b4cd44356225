"""Refusals that are ready before their request is whole: each can be read, and says whether the connection goes on.

What the head promises is kept: after `Connection: close` the connection ends, without it the next request is answered.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import Any

import pytest

from tests.e2e.gateway_pool import EVERY_KEY
from tests.e2e.harness import Gateway, Upstream, ask
from tests.e2e.raw_http import request_bytes

CHAT = "/v1/chat/completions"
SMALL = {**EVERY_KEY, "PROXY_MAX_BODY_BYTES": "20000"}
NEXT = request_bytes("GET", "/livez", Connection="close")
PIECES = 25
PAUSE_S = 0.1

JSON = {"Content_Type": "application/json"}
REFUSED: list[tuple[int, str, str, dict[str, str]]] = [
    (401, "POST", CHAT, {**JSON, "Authorization": ""}),
    (401, "POST", "/v1/completions", {**JSON, "Authorization": "Bearer wrong"}),
    (401, "POST", "/internal/maintenance", JSON),
    (404, "POST", "/v1/embeddings", JSON),
    (404, "POST", "/nowhere", {**JSON, "Authorization": ""}),
    (405, "PUT", CHAT, JSON),
    (405, "POST", "/v1/models", JSON),
    (413, "POST", CHAT, JSON),
    (413, "POST", "/v1/completions", JSON),
    (413, "POST", CHAT, {**JSON, "Connection": "close"}),
    (415, "POST", CHAT, {"Content_Type": "text/plain"}),
    (415, "POST", "/v1/completions", {**JSON, "Content_Encoding": "compress"}),
    (401, "POST", CHAT, {**JSON, "Authorization": "", "Connection": "close"}),
    (200, "OPTIONS", CHAT, JSON),
    (200, "GET", "/livez", JSON),
]


class Conversation:
    """A connection that sends its request in pieces, whatever is answered meanwhile, and reads to the end."""

    def __init__(self, gateway: Gateway, head: bytes, pieces: list[bytes], pause_s: float) -> None:
        self.written = False
        with socket.create_connection(("127.0.0.1", gateway.port), 30) as connection:
            writing = threading.Thread(target=self._write, args=(connection, head, pieces, pause_s))
            writing.start()
            writing.join()  # as many clients do: all of it is sent before anything is read
            self.raw = b""
            with suppress(TimeoutError):
                while data := connection.recv(65536):
                    self.raw += data

    def _write(
        self, connection: socket.socket, head: bytes, pieces: list[bytes], pause_s: float
    ) -> None:
        stop = threading.Event()
        connection.sendall(head)
        for piece in pieces:
            stop.wait(pause_s)
            connection.sendall(piece)
        self.written = True

    def check(self, status: int) -> None:
        assert self.written, "the connection was reset while the body was sent"
        head, _, rest = self.raw.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        assert int(lines[0].split()[1]) == status
        length = int(headers["content-length"])
        assert len(rest) >= length, "the answer is not whole"
        if status >= 400:
            assert json.loads(rest[:length])["error"]["code"]
        following = rest[length:]
        if headers["connection"] == "close":
            assert following == b""
        else:
            assert following.startswith(b"HTTP/1.1 200 ")


def head_of(method: str, path: str, headers: dict[str, str], framing: dict[str, str]) -> bytes:
    return request_bytes(method, path, b"", **{"Connection": "", **headers, **framing})


def chunks(piece: bytes) -> list[bytes]:
    one = b"%x\r\n" % len(piece) + piece + b"\r\n"
    return [one] * PIECES


AT_ONCE = [(*row, 0.0) for row in REFUSED]
SLOWLY = [(*row, PAUSE_S) for row in (REFUSED[0], REFUSED[3], REFUSED[9])]


@pytest.mark.parametrize(("status", "method", "path", "headers", "pause_s"), [*AT_ONCE, *SLOWLY])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_body_that_is_still_sent_costs_nobody_the_answer(
    lend_gateway: Any,
    status: int,
    method: str,
    path: str,
    headers: dict[str, str],
    pause_s: float,
    is_chunked: bool,
) -> None:
    gateway: Gateway = lend_gateway(**SMALL)
    piece = b" " * 4000
    pieces = chunks(piece) if is_chunked else [piece] * PIECES
    framing = (
        {"Transfer_Encoding": "chunked"}
        if is_chunked
        else {"Content_Length": str(len(piece) * PIECES)}
    )
    end = [b"0\r\n\r\n"] if is_chunked else []
    head = head_of(method, path, headers, framing)
    if headers.get("Connection") != "close":
        end.append(NEXT)
    Conversation(gateway, head, [*pieces, *end], pause_s).check(status)


@pytest.mark.parametrize(
    ("status", "settings"),
    [
        (429, {"PROXY_RATE_LIMIT": "1/hour"}),
        (503, {"PROXY_MAINTENANCE_MODE": "true"}),
    ],
)
def test_so_it_is_where_nothing_is_served_now(
    make_gateway: Any, upstream: Upstream, status: int, settings: dict[str, str]
) -> None:
    gateway: Gateway = make_gateway(**settings)
    gateway.post(ask(upstream.say("x")))
    head = head_of("POST", CHAT, JSON, {"Transfer_Encoding": "chunked"})
    Conversation(gateway, head, [*chunks(b" " * 4000), b"0\r\n\r\n", NEXT], 0).check(status)


@pytest.mark.parametrize("is_chunked", [True, False])
def test_after_a_little_body_the_connection_goes_on(gateway: Gateway, is_chunked: bool) -> None:
    framing = {"Transfer_Encoding": "chunked"} if is_chunked else {"Content_Length": "2"}
    head = head_of("POST", CHAT, {**JSON, "Authorization": ""}, framing)
    body = b"2\r\n{}\r\n0\r\n\r\n" if is_chunked else b"{}"
    done = Conversation(gateway, head + body + NEXT, [], 0)
    done.check(401)
    assert b"HTTP/1.1 200 " in done.raw


def test_a_head_that_is_refused_is_answered_before_its_body_has_ended(gateway: Gateway) -> None:
    head = request_bytes("POST", "/" + "x" * 9000, b"", Content_Length="1000000", **JSON)
    done = Conversation(gateway, head, [b" " * 40_000] * 25, 0.01)
    assert done.written
    assert done.raw.startswith(b"HTTP/1.1 414 ")
    assert b'"INVALID_HTTP"' in done.raw
