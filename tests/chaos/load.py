"""The clients of a storm: each sends its planned request over a socket of its own and reads, or goes away."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tests.chaos.checks import Result, Transcript, check
from tests.chaos.request_kinds import Asked
from tests.e2e.harness import MODEL, Gateway, Upstream
from tests.e2e.raw_http import request_bytes

CHAT, LEGACY = "/v1/chat/completions", "/v1/completions"
PATIENCE_S = 45
"""For one request: longer than anything that the service itself allows to take long."""

KEPT_SCRIPTS = 200
"""Scripts of clients that left: a child that was frozen may ask for them later."""

TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}
MAX_BODY_BYTES = 1 << 20


def script_of(asked: Asked) -> list[dict[str, Any]]:
    """Return what the upstream is to answer."""
    item: dict[str, object]
    if asked.tool:
        item = {"type": "function_call", "name": "look", "arguments": asked.text, "call_id": "c1"}
    else:
        item = {"type": "message", "deltas": list(asked.deltas)}
    good = {"items": [item], "interval_ms": asked.interval_ms}
    if asked.failure is None:
        return [good]
    failure: dict[str, Any] = {"name": asked.failure}
    if asked.after_deltas and asked.failure in CUT_SOMEWHERE:
        failure["after_deltas"] = asked.after_deltas
    bad = good | {"failure": failure}
    return [bad, good] if asked.recovers else [bad]


CUT_SOMEWHERE = frozenset(
    {
        *("reset_mid_stream", "eof_mid_stream", "cut_mid_stream", "hang_mid_stream", "error_event"),
        *("failed_rate_limit_exceeded", "failed_server_error", "failed_invalid_prompt"),
    }
)
"""Failures that come after some text."""


def body_of(asked: Asked) -> dict[str, Any]:
    """Return the request's body; its prompt carries the marker."""
    prompt = f"[{asked.marker}]" + "canary " * (asked.prompt_bytes // 7)
    body: dict[str, Any] = {"model": MODEL, "stream": asked.stream}
    if asked.legacy:
        body["prompt"] = prompt
    else:
        body["messages"] = [{"role": "user", "content": prompt}]
    if asked.choices > 1:
        body["n"] = asked.choices
    if asked.tool:
        body["tools"] = [TOOL]
    return body


def bytes_of(asked: Asked) -> bytes:
    """Return the whole request as it goes over the wire."""
    path = LEGACY if asked.legacy else CHAT
    wrong = WRONG.get(asked.kind)
    if wrong is not None:
        return wrong(asked)
    return request_bytes("POST", path, json.dumps(body_of(asked)).encode(), X_Request_Id=asked.id)


def _changed(asked: Asked, **fields: Any) -> bytes:
    body = {name: value for name, value in (body_of(asked) | fields).items() if value is not None}
    return request_bytes("POST", CHAT, json.dumps(body).encode(), X_Request_Id=asked.id)


def _plain(asked: Asked, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    return request_bytes(method, path, body, X_Request_Id=asked.id, **headers)


WRONG: dict[str, Callable[[Asked], bytes]] = {
    "refused: no messages": lambda asked: _changed(asked, messages=None),
    "refused: no JSON": lambda asked: _plain(asked, "POST", CHAT, b"{canary"),
    "refused: unsupported parameter": lambda asked: _changed(asked, logprobs=True),
    "refused: broken chunks": lambda asked: (
        _plain(asked, "POST", CHAT, Content_Type="application/json", Transfer_Encoding="chunked")
        + b"6\r\ncanary\r\nzz\r\n"
    ),
    "refused: no HTTP": lambda _: b"canary canary canary\r\n\r\n",
    "refused: wrong key": lambda asked: _plain(
        asked, "POST", CHAT, b"{}", Authorization="Bearer canary"
    ),
    "refused: unknown model": lambda asked: _changed(asked, model="canary"),
    "refused: unknown URL": lambda asked: _plain(asked, "GET", "/v1/canary"),
    "refused: wrong method": lambda asked: _plain(asked, "GET", CHAT),
    "refused: large body": lambda asked: _plain(asked, "POST", CHAT, b" " * (MAX_BODY_BYTES + 1)),
    "refused: other content type": lambda asked: _plain(
        asked, "POST", CHAT, b"canary", Content_Type="text/plain"
    ),
    "refused: large head": lambda asked: _plain(asked, "GET", CHAT, X_Canary="x" * 9000),
}


def converse(port: int, asked: Asked) -> Transcript:
    """Send one request and read its answer as planned. Whatever goes wrong is the transcript's end."""
    began = time.monotonic()
    raw = bytearray()
    try:
        with socket.socket() as connection:
            connection.settimeout(PATIENCE_S)
            if asked.naps_s:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            _send(connection, asked)
            threading.Event().wait(asked.naps_s)
            end = _read(connection, asked, raw)
            if asked.leaves:
                _leave(connection, asked.leaves)
    except OSError as error:
        end = type(error).__name__
    return Transcript(bytes(raw), end, began, time.monotonic())


def _send(connection: socket.socket, asked: Asked) -> None:
    data = bytes_of(asked)
    if asked.kind == "half-sent head":
        data = data[: data.index(b"\r\n\r\n")]
    if asked.kind == "half-sent body":
        data = data[:-10]
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        if asked.status == 200:
            raise
        # It was refused before it was sent: what it says about that can still be read.


def _read(connection: socket.socket, asked: Asked, raw: bytearray) -> str:
    """Read to the end, or for as long as the client stays or has patience."""
    leaves_at = time.monotonic() + asked.after_s
    given_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < given_up_at:
        if asked.leaves and not asked.after_frames:
            # What comes meanwhile stays unread: it does not matter to somebody who goes.
            select.select([], [], [], max(0.0, leaves_at - time.monotonic()))
            return "left"
        data = connection.recv(65536)
        if not data:
            return "eof"
        raw += data
        if asked.leaves and raw.count(b"data: ") >= asked.after_frames:
            return "left"
    return "no end"


def _leave(connection: socket.socket, how: str) -> None:
    if how == "half-closes":
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # what is still on its way; the gateway closes its side
            continue
    elif how == "resets":
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4)
        )


class Load:
    """Makes planned requests, each at its time or as soon as one of the clients is free, and checks each answer."""

    def __init__(self, gateway: Gateway, upstream: Upstream, clients: int) -> None:
        self._port = gateway.port
        self._upstream = upstream
        self._pool = ThreadPoolExecutor(clients)
        self._left: deque[str] = deque()
        self.results: list[Result] = []

    def run(
        self,
        requests: Iterable[Asked],
        is_over: Callable[[], bool] = lambda: False,
        afterwards: int = 0,
    ) -> None:
        """Make requests, each at its time, until there are no more, or `afterwards` more when it is over.

        Returns when all have ended.
        """
        began = time.monotonic()
        made: list[Future[None]] = []
        for asked in requests:
            threading.Event().wait(began + asked.at_s - time.monotonic())
            if is_over():
                afterwards -= 1
                if afterwards < 0:
                    break
            made.append(self._pool.submit(self._make, asked))
        for request in made:
            request.result(4 * PATIENCE_S)

    def _make(self, asked: Asked) -> None:
        if asked.deltas:
            self._upstream.control.script(asked.marker, script_of(asked))
        self.results.append(check(asked, converse(self._port, asked)))
        if asked.deltas:
            self._forget(asked)

    def _forget(self, asked: Asked) -> None:
        """Drop a script: the upstream looks for every one that it has in every request."""
        if not asked.leaves:
            self._upstream.control.drop(asked.marker)
            return
        self._left.append(asked.marker)
        if len(self._left) > KEPT_SCRIPTS:
            self._upstream.control.drop(self._left.popleft())

    def close(self) -> None:
        self._pool.shutdown()
