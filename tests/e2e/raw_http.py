"""HTTP spoken by hand, for what a client library would hide: exact bytes, exact frames, half-sent requests."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.e2e.harness import KEY, Gateway

TIMEOUT_S = 30

OF_OPERATORS = (
    "/internal/maintenance",
    "/internal",
    "//internal/maintenance",
    "/%69nternal/maintenance",
    "/internal%2Fmaintenance",
    "/v1/../internal/maintenance",
    "/v1/..%2finternal/maintenance",
    "http://localhost/internal/log-level",
    "/INTERNAL/maintenance",
    "/metrics",
    "/metrics/",
    "//metrics",
    "/%6detrics",
    "/metrics?x=1",
    "/livez/../metrics",
    "/METRICS",
)
"""Targets for what no proxy may let its clients reach."""

Watch = Callable[[bytes | bytearray], object]
"""Called with all that has come of an answer so far, each time that more has come."""


def request_bytes(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Host": "test", "Authorization": f"Bearer {KEY}", "Connection": "close"}
    if body:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def exchange(
    gateway: Gateway, data: bytes, watch: Watch = len
) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, read to the end; return status, headers in lower case, and the body unchunked."""
    with socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT_S) as connection:
        connection.sendall(data)
        raw = joined(iter(lambda: connection.recv(65536), b""), watch)
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(unchunk(body))
    return int(status_line.split()[1]), headers, body


def joined(pieces: Iterable[bytes], watch: Watch = len) -> bytes:
    """Join the pieces of an answer as they come."""
    raw = bytearray()
    for piece in pieces:
        raw += piece
        watch(raw)
    return bytes(raw)


def unchunk(data: bytes) -> Iterator[bytes]:
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        yield rest[:length]
        data = rest[length + 2 :]


def stream_frames(
    gateway: Gateway, body: dict[str, Any], watch: Watch = len
) -> tuple[dict[str, str], list[Any]]:
    """Run one streamed request; return its headers and its frames, the last as the text [DONE]."""
    sent = request_bytes(
        "POST", "/v1/chat/completions", json.dumps({**body, "stream": True}).encode()
    )
    status, headers, raw = exchange(gateway, sent, watch)
    assert status == 200, raw
    return headers, parse_frames(raw)


def parse_frames(raw: bytes) -> list[Any]:
    """Split server-sent events strictly: one data line a frame, and nothing else."""
    assert raw.endswith(b"\n\n"), raw[-200:]
    frames: list[Any] = []
    for block in raw[:-2].split(b"\n\n"):
        assert block.startswith(b"data: "), block
        assert b"\n" not in block, block
        data = block.removeprefix(b"data: ")
        frames.append("[DONE]" if data == b"[DONE]" else json.loads(data))
    return frames
