"""Clients that send slowly, read slowly, or only hold a connection: bounded, cut off, counted, and nobody's problem."""

from __future__ import annotations

import json
import resource
import signal
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.e2e.harness import FEW_FILES, KEY, Gateway, Upstream, ask, end, start_gateway, wait_until
from tests.e2e.raw_http import request_bytes
from tests.e2e.routes import Route, on_each_route
from tests.e2e.scrape import scrape, total

CHAT = "/v1/chat/completions"
MB = 1_000_000
HALF_A_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer "
LONG = {"items": [{"type": "message", "text": "x" * 60_000, "chunk": 60_000, "repeat": 100}]}
"""An answer of 6 MB: more than all buffers on the way hold."""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that waits a second for what it would wait for ten or thirty."""
    running = start_gateway(
        tmp_path_factory.mktemp("strict"),
        upstream,
        PROXY_HEAD_TIMEOUT_MS="1000",
        PROXY_BODY_TIMEOUT_MS="1500",
        PROXY_SEND_TIMEOUT_MS="1000",
        PROXY_KEEPALIVE_S="60",
    )
    running.wait_ready()
    yield running
    assert running.stop() == 0
    assert [entry for entry in running.log() if entry["level"] in {"error", "critical"}] == []
    end(running)


_OPENED: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    """Close every connection of a test, however it ends."""
    yield
    while _OPENED:
        _OPENED.pop().close()


def connect(gateway: Gateway, data: bytes = b"", receive_buffer: int | None = None) -> Any:
    client = socket.socket()
    _OPENED.append(client)
    client.settimeout(30)
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", gateway.port))
    client.sendall(data)
    return client


def read_to_end(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


def read_error(client: socket.socket) -> tuple[int, dict[str, Any]]:
    """Read one answer, however many pieces it comes in; the connection need not be closed behind it."""
    answer = b""
    while not answer.rstrip().endswith(b"}}"):
        block = client.recv(65536)
        assert block, f"the connection was closed after {answer!r}"
        answer += block
    return error_of(answer)


def error_of(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def cuts(gateway: Gateway, reason: str) -> float:
    return total(scrape(gateway), "codex_connections_cut_total", reason=reason)


def running(gateway: Gateway) -> int:
    count: int = gateway.get("/healthz").json()["child"]["running"]
    return count


def lines(gateway: Gateway, outcome: str) -> list[dict[str, Any]]:
    return [entry for entry in gateway.events("request") if entry["outcome"] == outcome]


def ping(client: socket.socket) -> None:
    """Ask for something small on a connection that stays open."""
    client.sendall(request_bytes("GET", "/livez", Connection="keep-alive"))
    answer = b""
    while not answer.endswith(b'{"status":"live"}\n'):
        block = client.recv(4096)
        assert block, "the connection was closed"
        answer += block


# Heads


def test_three_hundred_half_sent_heads_disturb_nobody(strict: Gateway, upstream: Upstream) -> None:
    before = cuts(strict, "slow_head")
    slow = [connect(strict, HALF_A_HEAD) for _ in range(300)]
    for _ in range(5):
        assert strict.post(ask(upstream.say("x"))).status_code == 200
    answers = [read_to_end(client) for client in slow]
    assert len(answers) == 300
    for answer in answers:
        status, error = error_of(answer)
        assert (status, error["code"], error["retryable"]) == (408, "HEAD_TIMEOUT", False)
    assert cuts(strict, "slow_head") == before + 300
    assert running(strict) == 0


def test_a_head_that_drips_is_cut_off_too(strict: Gateway) -> None:
    client = connect(strict)
    began = time.monotonic()
    with suppress(OSError):  # the answer is there, and the next byte is too much
        for byte in HALF_A_HEAD:
            client.sendall(bytes([byte]))
            threading.Event().wait(0.05)
    assert time.monotonic() - began < 0.05 * len(HALF_A_HEAD) + 20
    with suppress(ConnectionResetError):
        assert error_of(read_to_end(client))[0] == 408
    wait_until(lambda: cuts(strict, "slow_head") >= 1, "it is counted")


def test_who_never_says_anything_gets_no_answer(strict: Gateway) -> None:
    before = cuts(strict, "silent")
    assert read_to_end(connect(strict)) == b""
    wait_until(lambda: cuts(strict, "silent") == before + 1, "it is counted")


def test_an_idle_connection_outlives_the_time_of_a_head(strict: Gateway) -> None:
    with connect(strict) as client:
        for _ in range(2):
            ping(client)
            threading.Event().wait(1.5)  # the subject: longer than a head may take


def test_requests_sent_ahead_are_answered_in_order(strict: Gateway) -> None:
    one = request_bytes("GET", "/livez", Connection="keep-alive")
    last = request_bytes("GET", "/readyz")
    # The end of the third head comes later.
    client = connect(strict, one + one + last[:30])
    client.sendall(last[30:])
    answer = read_to_end(client)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert b'"status":"ready"' in answer


def test_a_head_sent_ahead_in_part_has_the_time_of_a_head(strict: Gateway) -> None:
    one = request_bytes("GET", "/livez", Connection="keep-alive")
    answer = read_to_end(connect(strict, one + HALF_A_HEAD))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 408 Request Timeout" in answer


# Bodies


def test_a_body_that_drips_is_cut_off_and_starts_no_turn(
    strict: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say("x")
    data = request_bytes("POST", CHAT, json.dumps(ask(marker, user="x" * 300)).encode())
    with connect(strict, data[:-200]) as client:
        stop = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                for byte in data[-200:-1]:
                    client.sendall(bytes([byte]))
                    if stop.wait(0.1):
                        return

        dripping = threading.Thread(target=drip)
        dripping.start()
        status, error = read_error(client)
        stop.set()
        dripping.join()
    assert (status, error["code"]) == (408, "BODY_TIMEOUT")
    assert upstream.control.requests(marker) == []
    assert running(strict) == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_stops_is_cut_off_before_its_time_is_over(
    lend_gateway: Any, upstream: Upstream, chunked: bool
) -> None:
    gateway = lend_gateway(PROXY_HEAD_TIMEOUT_MS="300", PROXY_BODY_TIMEOUT_MS="60000")
    marker = upstream.say("x")
    body = json.dumps(ask(marker)).encode()
    data = request_bytes("POST", CHAT, body)[:-1]
    if chunked:
        head = request_bytes(
            "POST", CHAT, Content_Type="application/json", Transfer_Encoding="chunked"
        )
        data = head + b"%x\r\n" % len(body) + body  # the last chunk never comes
    status, error = error_of(read_to_end(connect(gateway, data)))
    assert (status, error["code"]) == (408, "BODY_TIMEOUT")
    assert "stopped" in error["message"]
    assert upstream.control.requests(marker) == []


def test_all_bodies_together_are_bounded_until_their_answers_end(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway = make_gateway(PROXY_BODY_MEMORY_BYTES=str(1 << 20), PROXY_MAX_BODY_BYTES="600000")
    marker = upstream.play({"items": [{"type": "message", "deltas": ["a"]}], "hold": "deltas"})
    big = ask(marker, stream=True, metadata={"padding": "x" * 500_000})
    streams = [gateway.post(big, stream=True) for _ in range(2)]
    refused = gateway.post(big)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "BODIES_FULL"
    assert refused.headers["Retry-After"] == "1"
    assert gateway.post(ask(upstream.say("x"))).status_code == 200  # a small one fits
    assert total(scrape(gateway), "codex_overflows_total", queue="bodies") == 1
    upstream.control.wait("held", marker, count=2)
    upstream.control.release(marker)
    for stream in streams:
        assert stream.content.endswith(b"data: [DONE]\n\n")
    again = ask(upstream.say("x"), metadata=big["metadata"])
    assert gateway.post(again).status_code == 200


def test_half_a_million_tiny_messages_are_refused_at_once(
    gateway: Gateway, upstream: Upstream
) -> None:
    entry = {"role": "user", "content": "x"}
    parts = [{"type": "text", "text": "x"}] * 25_000
    for messages, status, code, param in (
        ([entry] * 500_000, 413, "TOO_MANY_VALUES", None),
        ([{**entry, "content": parts}], 400, "array_above_max_length", "messages"),
    ):
        answer = gateway.post({**ask("x"), "messages": messages})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    many = [entry] * 5_000 + ask(upstream.say("x"))["messages"]
    assert gateway.post({**ask("x"), "messages": many}).status_code == 200


# Readers


def outcomes(gateway: Gateway, route: Route) -> list[tuple[int, str]]:
    asked = [line for line in gateway.events("request") if line["route"] == route.path]
    return [(line["status"], line["outcome"]) for line in asked]


def drip_read(client: socket.socket, stop: threading.Event) -> None:
    """Read a byte a second."""
    with suppress(OSError):
        while client.recv(1) and not stop.wait(1):
            pass


@on_each_route
@pytest.mark.parametrize("stream", [True, False])
def test_who_reads_a_byte_a_second_is_cut_off_and_costs_little(
    strict: Gateway, upstream: Upstream, stream: bool, route: Route
) -> None:
    assert strict.post(ask(upstream.say("x"))).status_code == 200
    (worker,) = strict.workers()
    count = 4
    before, ended = cuts(strict, "slow_reader"), len(outcomes(strict, route))
    overflows = total(scrape(strict), "codex_overflows_total", queue="connection")
    size = worker.memory_info().rss
    marker = upstream.play(LONG)
    data = route.raw(marker, stream=stream)
    clients = [connect(strict, data, receive_buffer=4096) for _ in range(count)]
    stop = threading.Event()
    readers = [threading.Thread(target=drip_read, args=(c, stop)) for c in clients]
    for reader in readers:
        reader.start()
    most = size

    def are_cut() -> bool:
        nonlocal most
        most = max(most, worker.memory_info().rss)
        return len(outcomes(strict, route)) == ended + count

    wait_until(are_cut, "all of them are cut off", timeout_s=120)
    stop.set()
    for reader, client in zip(readers, clients, strict=True):
        reader.join()
        client.close()
    assert outcomes(strict, route)[ended:] == [(200, "slow_reader")] * count
    wait_until(lambda: running(strict) == 0, "no turn runs")
    assert cuts(strict, "slow_reader") == before + count
    found = total(scrape(strict), "codex_overflows_total", queue="connection")
    assert found == overflows + count
    # A stream: 2 MiB in its turn's queue. A whole answer: the answer, and its parts while it is put together; and what
    # is kept of it, where it is.
    kept = 16 if route.keeps else 0
    assert most - size < count * (8 if stream else 24 + kept) * MB
    assert strict.post(ask(upstream.say("x"))).status_code == 200


def test_a_slow_line_gets_its_whole_answer(lend_gateway: Any, upstream: Upstream) -> None:
    """It takes longer than the time for one block."""
    send_s = 4
    gateway = lend_gateway(PROXY_SEND_TIMEOUT_MS=str(send_s * 1000))
    marker = upstream.play(LONG)
    data = request_bytes("POST", CHAT, json.dumps(ask(marker)).encode())
    with connect(gateway, data, receive_buffer=65536) as client:
        taken = client.recv(32768)
        began = time.monotonic()
        while block := client.recv(32768):
            taken += block
            threading.Event().wait(0.04)  # the subject: a block is taken in time, the whole is not
        took = time.monotonic() - began
    content = json.loads(taken.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"]
    assert content == "x" * 6 * MB
    assert took > send_s + 2


# Connections


def test_health_and_metrics_answer_while_every_turn_is_taken_and_a_thousand_wait(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway = make_gateway(WORKER_MAX_CONCURRENCY="2", WORKER_QUEUE_MAX="4")
    marker = upstream.play({"items": [{"type": "message", "deltas": ["a"]}], "hold": "deltas"})
    data = request_bytes("POST", CHAT, json.dumps(ask(marker, stream=True)).encode())
    for _ in range(6):
        connect(gateway, data)
    upstream.control.wait("held", marker, count=2)
    for _ in range(1000):
        ping(connect(gateway))
    for path in ("/healthz", "/readyz", "/livez", "/metrics"):
        assert gateway.get(path).status_code == 200
    assert running(gateway) == 2
    assert cuts(gateway, "made_room") == 0


def test_where_connections_run_out_the_longest_idle_make_room(make_gateway: Any) -> None:
    gateway = make_gateway()
    (old,) = gateway.workers()
    # As a service manager with too low a limit would have started it.
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (400, 400))
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: gateway.events("reload_done"), "it has reloaded")
    wait_until(lambda: not old.is_running(), "the old worker, which has room, is gone")
    (short,) = wait_until(lambda: gateway.events("descriptors_short"), "it is told")
    assert (short["level"], short["connections"]) == ("warn", 400 // 2)
    clients = []
    for _ in range(300):
        clients.append(connect(gateway))
        ping(clients[-1])
    assert gateway.get("/healthz").status_code == 200
    assert cuts(gateway, "made_room") >= 300 - 200
    assert clients[0].recv(10) == b""  # the longest idle
    ping(clients[-1])
    # A flood of those that say nothing displaces itself, not who is known.
    for _ in range(300):
        connect(gateway)
    assert gateway.get("/livez").status_code == 200
    ping(clients[-1])
    assert f"Bearer {KEY}" not in gateway.log_path.read_text()


@pytest.mark.app_server  # turns want descriptors for processes of their own
def test_where_few_files_may_be_open_each_request_is_answered(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway = make_gateway()
    (old,) = gateway.workers()
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (128, 128))
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: gateway.events("reload_done"), "it has reloaded")
    wait_until(lambda: not old.is_running(), "the old worker, which has room, is gone")
    connections, kept_free = 128 // 2, 128 // 2 // 4
    marker = upstream.play({"items": [{"type": "message", "deltas": ["a"]}], "hold": "deltas"})
    data = request_bytes("POST", CHAT, json.dumps(ask(marker, stream=True)).encode())
    clients = [connect(gateway, data) for _ in range(2 * connections)]
    statuses = [client.recv(12)[9:] for client in clients]
    assert statuses.count(b"200") == connections - kept_free
    assert statuses.count(b"429") == len(clients) - (connections - kept_free)
    assert gateway.get("/livez").status_code == 200
    # With still fewer it would not start.
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (64, 64))
    gateway.process.send_signal(signal.SIGHUP)
    (refused,) = wait_until(lambda: gateway.events("reload_refused"), "it is refused")
    assert refused["problems"][0].startswith("Only 64 files may be open")


@pytest.mark.app_server  # the same
def test_strangers_that_find_no_room_are_told_and_hold_up_nobody(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway = make_gateway(starter=FEW_FILES.format(128))
    marker = upstream.play({"items": [{"type": "message", "deltas": ["a"]}], "hold": "deltas"})
    data = request_bytes("POST", CHAT, json.dumps(ask(marker, stream=True)).encode())
    streams = [connect(gateway, data) for _ in range(128 // 2 - 128 // 2 // 4)]
    assert {stream.recv(12)[9:] for stream in streams} == {b"200"}
    crowd = [connect(gateway) for _ in range(100)]
    for stranger in crowd:
        stranger.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    answers = [stranger.recv(4096) for stranger in crowd]
    assert {answer[9:12] for answer in answers} == {b"401", b"429"}
    refused = next(answer for answer in answers if answer[9:12] == b"429")
    assert b"Retry-After: 1\r\n" in refused
    assert error_of(refused)[1]["code"] == "WORKER_BUSY"
    assert gateway.get("/livez").status_code == 200
    upstream.control.wait("held", marker, count=len(streams), timeout_ms=30_000)
    upstream.control.release(marker)
    assert all(b"[DONE]" in read_to_end(stream) for stream in streams)


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_a_thousand_open_streams_take_forty_megabytes(
    make_gateway: Any, upstream: Upstream
) -> None:
    count = 1000
    gateway = make_gateway(
        WORKER_MAX_CONCURRENCY=str(count),
        PROXY_SSE_MAX_CONCURRENCY=str(2 * count),
        WORKER_QUEUE_TIMEOUT_MS="60000",
        WORKER_RPC_TIMEOUT_MS="60000",
        WORKER_PROBE_TIMEOUT_MS="60000",
    )
    assert gateway.post(ask(upstream.say("x"))).status_code == 200
    (worker,) = gateway.workers()
    idle = worker.memory_info().rss
    marker = upstream.play({"items": [{"type": "message", "deltas": ["a"]}], "hold": "deltas"})
    data = request_bytes("POST", CHAT, json.dumps(ask(marker, stream=True)).encode())
    streams = []
    for opened in range(count):
        streams.append(connect(gateway, data))
        if opened % 10 == 9:  # as fast as the child can begin turns, and no faster
            upstream.control.wait("held", marker, count=opened + 1, timeout_ms=60_000)
    assert running(gateway) == count
    assert gateway.get("/metrics").status_code == 200
    waits_s = []
    for _ in range(20):
        began = time.monotonic()
        assert gateway.get("/healthz").status_code == 200
        waits_s.append(time.monotonic() - began)
    assert statistics.median(waits_s) < 0.5, waits_s
    grown = worker.memory_info().rss - idle
    assert grown < 40 * MB, f"{grown / MB:.1f} MB"
    for stream in streams:
        stream.close()
    wait_until(lambda: running(gateway) == 0, "every slot is free", 60)
