"""Requests in flight: sent and unread, held by the upstream, waiting for a turn, read frame by frame."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import requests

from tests.e2e.harness import DEADLINE_S, KEY, Gateway, Upstream, ask, wait_until
from tests.e2e.raw_http import Watch
from tests.e2e.routes import ROUTES, Route

TEXT_OF_A_FRAME = re.compile('"content":"([^"]+)"')
CHAT = "/v1/chat/completions"
TEXT = [{"type": "message", "deltas": ["a"]}]
HELD = {"items": TEXT, "hold": "deltas"}
EACH = {"items": [{"type": "message", "deltas": list("abcde")}], "hold": "each"}
SILENT: dict[str, Any] = {"items": [], "hold_before_headers": True}


def failing(
    deltas: Sequence[str], name: str = "cut_mid_stream", *, after: int = 2
) -> dict[str, Any]:
    """A script that fails after so many of its deltas, and not before it is released.

    A failure that comes together with the first delta is the whole answer, on a busy machine at any interval.
    """
    items = [{"type": "message", "deltas": list(deltas)}]
    return {"items": items, "hold": True, "failure": {"name": name, "after_deltas": after}}


def releasing(upstream: Upstream, marker: str, text: str) -> Watch:
    """Return what lets the upstream go on as soon as the client has got this delta."""
    sign = json.dumps(text, ensure_ascii=False).encode()
    waiting = [marker]

    def watch(raw: bytes | bytearray) -> None:
        if waiting and sign in raw:
            upstream.control.wait("held", waiting.pop())
            upstream.control.release(marker)

    return watch


def send(port: int, marker: str, route: Route = ROUTES[0], **more: Any) -> socket.socket:
    """Send one whole request and return its connection, unread."""
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.sendall(route.raw(marker, **more))
    return connection


def child(gateway: Gateway) -> dict[str, Any]:
    state: dict[str, Any] = gateway.get("/healthz").json()["child"]
    return state


def lines(gateway: Gateway, route: Route = ROUTES[0]) -> list[dict[str, Any]]:
    return [entry for entry in gateway.events("request") if entry["route"] == route.path]


def line_of(gateway: Gateway, request_id: str, event: str = "request") -> dict[str, Any]:
    """Return the line of one request, which is written a moment after its answer."""
    (line,) = wait_until(
        lambda: [entry for entry in gateway.events(event) if entry["request_id"] == request_id],
        "its line is written",
    )
    return dict(line)


def post(gateway: Gateway, key: str, marker: str, **more: Any) -> requests.Response:
    return requests.post(
        gateway.url + CHAT,
        json=ask(marker, **more),
        headers={"Authorization": f"Bearer {key}"},
        timeout=DEADLINE_S,
    )


def read_frame_by_frame(front: Gateway, upstream: Upstream) -> requests.Response:
    """Read a stream whose upstream says no letter before the client has read the one before; return the answer.

    Whoever keeps a frame back on its way, until there are more or for a while, keeps it back for good: the next never
    comes, and the read fails when its time is over.
    """
    marker = upstream.play(EACH)
    with front.post(ask(marker, stream=True), stream=True) as streamed:
        lines = filter(None, streamed.iter_lines(decode_unicode=True))
        texts = (text[1] for text in map(TEXT_OF_A_FRAME.search, lines) if text)
        for letter in "abcde":
            assert next(texts) == letter
            upstream.control.wait("held", marker)
            upstream.control.release(marker)
        assert list(lines)[-1] == "data: [DONE]"
    return streamed


def waiting(gateway: Gateway, count: int) -> None:
    wait_until(lambda: child(gateway)["waiting"] == count, f"{count} wait")


class Reader(threading.Thread):
    """Reads one stream to its end and notes when each frame came."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(daemon=True)
        self.answer = answer
        self.frames: list[tuple[float, Any]] = []
        self.start()

    def run(self) -> None:
        for line in self.answer.iter_lines():
            if line.startswith(b"data: "):
                data = line.removeprefix(b"data: ")
                frame = "[DONE]" if data == b"[DONE]" else json.loads(data)
                self.frames.append((time.monotonic(), frame))

    def errors(self) -> list[tuple[float, Any]]:
        return [(at, f["error"]) for at, f in self.frames if isinstance(f, dict) and "error" in f]


def death_of_a_busy_child(
    gateway: Gateway, upstream: Upstream
) -> tuple[float, float, list[Reader], list[Future[requests.Response]]]:
    """Kill the child under 32 streams that have spoken and 100 requests that wait; return when, and who was there.

    The second figure is when the gateway was ready again.
    """
    marker, later = upstream.play(HELD), upstream.say("later")
    answers = [gateway.post(ask(marker, stream=True), stream=True) for _ in range(32)]
    readers = [Reader(answer) for answer in answers]
    wait_until(lambda: all(len(reader.frames) == 2 for reader in readers), "all have spoken")
    pool = ThreadPoolExecutor(100)
    queued = [pool.submit(post, gateway, KEY, later, stream=n % 2 == 0) for n in range(100)]
    waiting(gateway, 100)
    gateway.child().kill()
    killed = time.monotonic()
    wait_until(lambda: child(gateway)["generation"] == 2, "the next child answers")
    gateway.wait_ready()
    ready = time.monotonic()
    pool.shutdown()
    return killed, ready, readers, queued
