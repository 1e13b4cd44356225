"""The direct side: `python -m bench.direct_load HOME UPSTREAM_URL BINARY` (the upstream's key in the environment).

The least that a client of `codex app-server` can do and still be right: it starts the child that the gateway would
start, says the same to it, and keeps what comes back. No HTTP, no supervision, no deadlines, no validation.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import orjson
from gevent import socket, subprocess
from gevent.event import AsyncResult, Event
from gevent.lock import Semaphore

from app.api.chat_completions.messages import to_items
from app.backend.request import TurnRequest
from app.backends.app_server import protocol
from app.backends.app_server.parse_events import ThreadId
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from bench import jobs
from bench.jobs import Answer, AnswerError, Job

UPSTREAM_KEY_VARIABLE = "BENCH_UPSTREAM_KEY"

_READ_BYTES = 256 * 1024
_STREAM_IDLE_MS = 300_000  # what the gateway gives its child by default
_END_S = 5


class Listening:
    """What one turn has said so far."""

    def __init__(self) -> None:
        self.first = self.ended = 0.0
        self.texts: list[str] = []
        self.status = ""
        self.over = Event()


class Pipe:
    """JSON-RPC over the child's stdin and stdout, one socket as in the gateway."""

    def __init__(self, connection: socket.socket) -> None:
        self.turns: dict[str, Listening] = {}
        self._socket = connection
        self._next_id = 0
        self._waiting: dict[int, AsyncResult[dict[str, Any]]] = {}
        self._writing = Semaphore()
        gevent.spawn(self._read)

    def call(self, method: str, params: object) -> Any:
        """Send a request and return its result. Blocks."""
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
        method = message.get("method")
        if method is None:
            waiter = self._waiting.pop(message["id"], None)
            if waiter is not None:
                waiter.set(message)
            return
        params = message["params"]
        turn = self.turns.get(params.get("threadId", ""))
        if turn is None:
            return
        if method == "item/agentMessage/delta":
            turn.texts.append(params["delta"])
            turn.first = turn.first or time.perf_counter()
        elif method == "turn/completed":
            turn.ended = time.perf_counter()
            turn.status = params["turn"]["status"]
            turn.over.set()


class DirectClient:
    """Asks on a new thread each time, as the gateway does."""

    def __init__(self, pipe: Pipe, job: Job) -> None:
        self._pipe = pipe
        items = to_items([{"role": "user", "content": job.prompt}])
        self._request = TurnRequest(job.model, items)

    def ask(self) -> Answer:
        """Run one turn. Blocks; raises `AnswerError`."""
        pipe, request, turn = self._pipe, self._request, Listening()
        asked = time.perf_counter()
        started = pipe.call("thread/start", protocol.thread_start_params(request))
        thread_id = ThreadId(started["thread"]["id"])
        pipe.turns[thread_id] = turn
        pipe.call("thread/inject_items", protocol.inject_items_params(thread_id, request.items))
        pipe.call("turn/start", protocol.turn_start_params(thread_id, request))
        turn.over.wait()
        pipe.send("thread/unsubscribe", protocol.unsubscribe_params(thread_id))
        del pipe.turns[thread_id]
        if turn.status != "completed" or not turn.texts:
            raise AnswerError(f"the turn ended as {turn.status} with {len(turn.texts)} deltas")
        return Answer(asked, turn.first, turn.ended, lambda: turn.texts)

    def close(self) -> None:
        """Do nothing: the pipe is everybody's."""


def main() -> None:
    """Start the child, shake hands, do jobs, end the child."""
    root, upstream_url, binary = sys.argv[1:]
    home = Home(Path(root))
    upstream = Upstream(UpstreamKind.CONFIGURED, upstream_url, has_key=True)
    key = os.environ[UPSTREAM_KEY_VARIABLE]
    spec = Launcher(home, Path(binary), upstream, key, _STREAM_IDLE_MS).prepare()
    ours, theirs = socket.socketpair()
    child = subprocess.Popen(
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
        home.silence_log_database()
        jobs.tell({"child_pid": child.pid})
        jobs.serve(lambda job: DirectClient(pipe, job))
    finally:
        ours.shutdown(socket.SHUT_WR)
        try:
            child.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            child.kill()


if __name__ == "__main__":
    main()
