"""Pipe to a `codex app-server` child, and the child itself: the least that a hand-written client needs.

The child is the one that the gateway would start. No supervision, no deadlines, no validation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from gevent import socket, spawn, subprocess
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore, Semaphore

from app.backends.app_server import protocol
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.process.child import ChildSpec
from bench.jobs import AnswerError

UPSTREAM_KEY_VARIABLE = "BENCH_UPSTREAM_KEY"
WEBSOCKETS_VARIABLE = "BENCH_WEBSOCKETS"
"""Set where the child is to speak to the upstream over WebSockets."""

PLAIN_VARIABLE = "BENCH_PLAIN"
"""Set where codex is to have its own defaults, and be told of nothing but the upstream."""

_UPSTREAM_KEYS = ("model_provider", "cli_auth_credentials_store")
_TUNING = ("TOKIO_WORKER_THREADS", "_RJEM_MALLOC_CONF", "SSL_CERT_FILE")

_READ_BYTES = 256 * 1024
_STREAM_IDLE_MS = 300_000  # what the gateway gives its child by default
_END_S = 5
_MOST_CALLS = 64  # beyond about 128 the child answers some of them never
_INJECTED = "auto-compact-"


class Turn:
    """What one turn has said so far. `answered` is set when a response is whole and its call, if any, is known."""

    def __init__(self) -> None:
        self.status = ""
        self.over = Event()
        self.next_response()

    def next_response(self) -> None:
        """Forget the last response: another one is about to be asked for."""
        self.first = self.ended = 0.0
        self.texts: list[str] = []
        self.call: dict[str, Any] | None = None
        self.request_id: int | None = None
        self.usage: dict[str, int] = {}
        self.answered = Event()

    def hear(self, message: dict[str, Any]) -> None:
        """Take one message about the turn. Does not block."""
        method, params = message["method"], message["params"]
        if method == "item/agentMessage/delta":
            self.texts.append(params["delta"])
            self.first = self.first or time.perf_counter()
        elif method == "rawResponseItem/completed":
            item = params["item"]
            if item["type"] == "function_call" and not params["turnId"].startswith(_INJECTED):
                self.call = item
        elif method == "item/tool/call":
            self.request_id = message["id"]
        elif method == "rawResponse/completed":
            self.usage = params["usage"]
        elif method == "turn/completed":
            self.status = params["turn"]["status"]
            self._end()
            self.over.set()
        if self.usage and (self.call is None) == (self.request_id is None):
            self._end()

    def _end(self) -> None:
        self.ended = self.ended or time.perf_counter()
        self.answered.set()


class Pipe:
    """JSON-RPC over the child's stdin and stdout, one socket as in the gateway."""

    def __init__(self, connection: socket.socket) -> None:
        self.turns: dict[str, Turn] = {}
        self._socket = connection
        self._next_id = 0
        self._waiting: dict[int, AsyncResult[dict[str, Any]]] = {}
        self._writing = Semaphore()
        self._calling = BoundedSemaphore(_MOST_CALLS)
        spawn(self._read)

    def call(self, method: str, params: object) -> Any:
        """Send a request and return its result. Blocks; raises `AnswerError`."""
        with self._calling:
            waiter: AsyncResult[dict[str, Any]] = AsyncResult()
            self._waiting[self._next_id + 1] = waiter
            self.send(method, params)
            answer = waiter.get() or {}
        if "result" not in answer:
            raise AnswerError(f"{method}: {answer.get('error')}")
        return answer["result"]

    def send(self, method: str, params: object) -> None:
        """Send a request whose answer nobody waits for."""
        self._next_id += 1
        self._write({"id": self._next_id, "method": method, "params": params})

    def notify(self, method: str) -> None:
        """Send a notification."""
        self._write({"method": method})

    def answer(self, request_id: int, result: object) -> None:
        """Answer a request of the child's."""
        self._write({"id": request_id, "result": result})

    def _write(self, message: dict[str, object]) -> None:
        line = orjson.dumps(message) + b"\n"
        with self._writing:
            self._socket.sendall(line)

    def _read(self) -> None:
        rest = b""
        while data := self._socket.recv(_READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(orjson.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            waiter = self._waiting.pop(message["id"], None)
            if waiter is not None:
                waiter.set(message)
            return
        turn = self.turns.get(message["params"].get("threadId", ""))
        if turn is not None:
            turn.hear(message)


def over_websockets() -> bool:
    """Return True if the child is to use WebSockets."""
    return WEBSOCKETS_VARIABLE in os.environ


def launcher(root: str, upstream_url: str, binary: str) -> Launcher:
    """Return what prepares a CODEX_HOME and a child as the gateway does; the upstream's key is in the environment."""
    upstream = Upstream(
        UpstreamKind.CONFIGURED, upstream_url, has_key=True, websockets=over_websockets()
    )
    key = os.environ[UPSTREAM_KEY_VARIABLE]
    return Launcher(Home(Path(root)), Path(binary), upstream, key, _STREAM_IDLE_MS)


def prepared(launching: Launcher) -> ChildSpec:
    """Prepare a CODEX_HOME; return how codex is started there, with its own defaults if that was asked for."""
    spec = launching.prepare()
    if PLAIN_VARIABLE not in os.environ:
        return spec
    binary, command, *options = spec.argv
    pairs = zip(options[::2], options[1::2], strict=True)
    kept = [each for pair in pairs if pair[1].startswith(_UPSTREAM_KEYS) for each in pair]
    env = {name: value for name, value in spec.env.items() if name not in _TUNING}
    return replace(spec, argv=(binary, command, *kept), env=env)


@contextmanager
def child(launching: Launcher) -> Iterator[tuple[Pipe, int]]:
    """Run a child and shake hands; yield the pipe and the child's process id. Blocks at both ends."""
    spec = prepared(launching)
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        spec.argv,
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
        stderr=subprocess.DEVNULL,
        env=spec.env,
        cwd=spec.cwd,
        start_new_session=True,
    )
    theirs.close()
    try:
        pipe = Pipe(ours)
        pipe.call("initialize", protocol.initialize_params("0"))
        pipe.notify("initialized")
        launching.home.silence_log_database()
        yield pipe, process.pid
    finally:
        ours.shutdown(socket.SHUT_WR)
        try:
            process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
