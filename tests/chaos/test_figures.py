"""The figures that the service promises for its worst moments, each measured once and printed."""

from __future__ import annotations

import json
import signal
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ledger import Ledger
from tests.e2e.harness import Gateway, Upstream, ask, end, start_gateway, wait_until
from tests.e2e.in_flight import death_of_a_busy_child
from tests.e2e.raw_http import request_bytes, stream_frames

Start = Callable[..., Gateway]
Settle = Callable[[Ledger], None]

HEALTH_MS = 50
"""In which health answers while everything else is full; the median of `ASKED`."""

ASKED = 50
BACKOFFS_MS = [250, 500, 1000, 2000, 4000, 5000]


@pytest.fixture
def start(tmp_path: Path, upstream: Upstream) -> Iterator[Start]:
    started: list[Gateway] = []

    def start(**settings: str) -> Gateway:
        started.append(start_gateway(tmp_path, upstream, **settings))
        started[-1].wait_ready()
        return started[-1]

    yield start
    for gateway in started:
        end(gateway)


@pytest.mark.chaos
def test_the_death_of_a_busy_child(start: Start, upstream: Upstream, settle: Settle) -> None:
    gateway = start(
        WORKER_MAX_CONCURRENCY="32", WORKER_QUEUE_TIMEOUT_MS="30000", PROXY_SSE_KEEPALIVE_MS="60000"
    )
    killed, ready, readers, queued = death_of_a_busy_child(gateway, upstream)
    for reader in readers:
        reader.join()
    ledger = Ledger("kill -9 of the child under 32 streams and 100 requests that wait")
    ended = [error for reader in readers for error in reader.errors()]
    lost = [] if len(ended) == len(readers) else [f"{len(ended)} frames"]
    ledger.promise("streams end with one error frame", len(ended), lost)
    last = max(at for at, _ in ended) - killed
    ledger.within("the last of these frames after", 1000 * last, 500, "ms")
    refused = [answer.result().text for answer in queued if answer.result().status_code != 200]
    ledger.promise("who waits is served", len(queued), refused)
    ledger.within("ready again after", 1000 * (ready - killed), 1500, "ms")
    settle(ledger)


@pytest.mark.chaos
def test_a_child_that_cannot_start(start: Start, settle: Settle) -> None:
    gateway = start()
    foreign = gateway.home / "config.toml"
    foreign.write_text("model = 'x'\n")
    gateway.child().kill()

    def ends() -> list[dict[str, Any]]:
        levels = [*gateway.events("child_exited"), *gateway.events("child_degraded")]
        return sorted(levels, key=lambda line: line["failures"])

    wait_until(lambda: len(ends()) == 6, "six failures in a row")
    status = gateway.get("/healthz", key=False).json()["status"]
    foreign.unlink()
    began = time.monotonic()
    gateway.wait_ready()
    back_s = time.monotonic() - began
    found = [line["backoff_ms"] for line in ends()]
    critical = [line["failures"] for line in ends() if line["level"] == "critical"]
    ledger = Ledger("a child that cannot start, with the default settings")
    wrong = [] if found == BACKOFFS_MS else [f"not {BACKOFFS_MS}"]
    ledger.promise("backoff in ms", found, wrong)
    ledger.promise("critical at failure", critical, [] if critical == [5] else ["not the fifth"])
    ledger.promise("/healthz says", status, [] if status == "degraded" else ["not degraded"])
    ledger.within("ready again after", 1000 * back_s, BACKOFFS_MS[-1] + 1500, "ms")
    settle(ledger)


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_reload_under_a_stream_of_two_minutes(
    start: Start, upstream: Upstream, settle: Settle
) -> None:
    gateway = start()
    words = [f"word{number} " for number in range(120)]
    marker = upstream.say(*words, interval_ms=1000)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("headers_sent", marker)
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: gateway.events("worker_retires"), "the old worker retires")
        frames = stream.result(240)[1]
    said = [c["delta"].get("content") or "" for f in frames[:-1] for c in f.get("choices", [])]
    is_whole = frames[-1] == "[DONE]" and "".join(said) == "".join(words)
    ledger = Ledger("a reload under a stream of 120 s, with the default settings")
    ledger.promise(
        "the stream is whole", f"{len(words)} words", [] if is_whole else [str(frames[-2:])]
    )
    settle(ledger)


@pytest.mark.chaos
def test_term_a_second_after_a_hup(start: Start, upstream: Upstream, settle: Settle) -> None:
    gateway = start()
    marker = upstream.say(*["word "] * 240, interval_ms=500)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(stream_frames, gateway, ask(marker))
        upstream.control.wait("headers_sent", marker)
        gateway.process.send_signal(signal.SIGHUP)
        time.sleep(1)  # what is measured is a second after it
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: gateway.events("drain_began"), "the drain began")
        heard = time.monotonic() - began
        frames = stream.result(60)[1]
    ledger = Ledger(
        "TERM one second after a HUP, under a stream of 120 s, with the default settings"
    )
    ledger.within("acted on after", 1000 * heard, 2000, "ms")
    code = frames[-2].get("error", {}).get("code")
    ledger.promise("the stream ends with", code, [] if code == "DRAINING" else [str(frames[-2:])])
    settle(ledger)


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_health_while_everything_is_full(start: Start, upstream: Upstream, settle: Settle) -> None:
    """Every slot is taken by a stream that waits, and a thousand connections idle."""
    gateway = start(
        WORKER_MAX_CONCURRENCY="200", PROXY_SSE_MAX_CONCURRENCY="400", WORKER_QUEUE_MAX="8"
    )
    marker = upstream.play({"items": [{"type": "message", "deltas": ["a"]}], "hold": "deltas"})
    body = json.dumps(ask(marker, stream=True)).encode()
    turns = [
        connect(gateway, request_bytes("POST", "/v1/chat/completions", body)) for _ in range(200)
    ]
    upstream.control.wait("held", marker, count=200, timeout_ms=60_000)
    idle = [
        connect(gateway, request_bytes("GET", "/livez", Connection="keep-alive"))
        for _ in range(1000)
    ]
    for client in idle:
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    ledger = Ledger("200 of 200 turns taken, and 1,000 idle connections")
    health_within(ledger, gateway)
    for client in (*turns, *idle):
        client.close()
    settle(ledger)


def connect(gateway: Gateway, data: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", gateway.port), 30)
    client.sendall(data)
    return client


def health_within(ledger: Ledger, gateway: Gateway) -> None:
    moments = [time.monotonic()]
    for _ in range(ASKED):
        assert gateway.get("/healthz").status_code == 200
        moments.append(time.monotonic())
    waits = [1000 * (after - before) for before, after in pairwise(moments)]
    ledger.within("median wait for /healthz", statistics.median(waits), HEALTH_MS, "ms")
    ledger.figure("longest wait for /healthz", f"{max(waits):.0f} ms")
