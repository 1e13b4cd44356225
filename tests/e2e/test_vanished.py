"""Clients that vanish: noticed when they go, wherever their request waits, and nothing runs on for nobody."""

from __future__ import annotations

import select
import signal
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.e2e.gateway_pool import ONE_SLOT
from tests.e2e.harness import IS_SHARED, MODEL, Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import HELD, SILENT, child, lines, send
from tests.e2e.raw_http import request_bytes
from tests.e2e.routes import Route, on_each_route

CROWD = 200 if IS_SHARED else 20
"""Clients at once. Two hundred processes start in more time than requests wait for one."""


@on_each_route
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", [HELD, SILENT], ids=["after the first token", "before it"])
def test_the_turn_of_a_client_that_closes_ends(
    gateway: Gateway, upstream: Upstream, script: dict[str, Any], stream: bool, route: Route
) -> None:
    marker = upstream.play(script)
    before = len(lines(gateway, route))
    connection = send(gateway.port, marker, route, stream=stream)
    upstream.control.wait("held", marker)
    connection.close()
    upstream.control.wait("peer_closed", marker)
    wait_until(lambda: child(gateway)["running"] == 0, "no turn runs")
    (line,) = wait_until(lambda: lines(gateway, route)[before:], "the request's line")
    assert line["outcome"] == "client_left"
    assert "error_code" not in line


def test_the_slot_is_free_at_once(gateway: Gateway, upstream: Upstream) -> None:
    took = []
    for turn in range(10):
        marker = upstream.play(HELD)
        connection = send(gateway.port, marker, stream=turn % 2 == 0)
        upstream.control.wait("held", marker)
        began = time.monotonic()
        connection.close()
        wait_until(lambda: child(gateway)["running"] == 0, "the slot is free")
        took.append(time.monotonic() - began)
    # Some hundredths of a second each. The slowest of ten says more about the machine than about us.
    assert statistics.median(took) < 1


@on_each_route
@pytest.mark.parametrize("how", ["half-closes", "resets", "sent something ahead"])
def test_every_way_to_leave_is_one(
    gateway: Gateway, upstream: Upstream, how: str, route: Route
) -> None:
    marker = upstream.play(HELD)
    with send(gateway.port, marker, route, stream=True) as connection:
        upstream.control.wait("held", marker)
        if how == "half-closes":
            connection.shutdown(socket.SHUT_WR)
        elif how == "resets":
            linger = (1).to_bytes(4, "little") + bytes(4)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()
        else:
            connection.sendall(request_bytes("GET", "/livez"))
            connection.close()
        upstream.control.wait("peer_closed", marker)
        wait_until(lambda: child(gateway)["running"] == 0, "no turn runs")


@on_each_route
def test_a_request_sent_ahead_is_answered_after_the_first(
    gateway: Gateway, upstream: Upstream, route: Route
) -> None:
    marker = upstream.play({**HELD, "hold": "end"})
    with send(gateway.port, marker, route) as connection:
        upstream.control.wait("held", marker)
        connection.sendall(request_bytes("GET", "/livez"))
        upstream.control.release(marker)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.endswith(b'{"status":"live"}\n')


def test_a_connection_that_was_watched_serves_the_next_request(
    gateway: Gateway, upstream: Upstream
) -> None:
    with gateway.sdk() as client:
        for _ in range(5):
            answer = client.chat.completions.create(**ask(upstream.say("x")))
            assert answer.choices[0].message.content == "x"


@on_each_route
def test_who_leaves_the_queue_never_gets_a_turn(
    lend_gateway: Any, upstream: Upstream, route: Route
) -> None:
    gateway = lend_gateway(**ONE_SLOT)
    first, second = upstream.play(HELD), upstream.say("second")
    running = send(gateway.port, first, route)
    upstream.control.wait("held", first)
    waiting = [send(gateway.port, second, route, stream=stream) for stream in (True, False)]
    wait_until(lambda: child(gateway)["waiting"] == 2, "two wait")
    for connection in waiting:
        connection.close()
    wait_until(lambda: child(gateway)["waiting"] == 0, "nobody waits")
    running.close()
    wait_until(lambda: child(gateway)["running"] == 0, "no turn runs")
    assert upstream.control.requests(second) == []
    wait_until(lambda: len(lines(gateway, route)) == 3, "every line is written")
    assert [(line["outcome"], line["status"]) for line in lines(gateway, route)] == [
        ("client_left", 499)
    ] * 3


@pytest.mark.app_server  # the one child is stopped before anybody asks
def test_who_leaves_while_the_child_is_asked_leaves_no_turn_behind(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway = make_gateway(WORKER_PROBE_INTERVAL_MS="600000")
    marker = upstream.play(SILENT)
    codex = gateway.child()
    codex.send_signal(signal.SIGSTOP)
    connections = [send(gateway.port, marker) for _ in range(5)]
    wait_until(lambda: child(gateway)["running"] == 5, "five begin")
    for connection in connections:
        connection.close()
    wait_until(lambda: child(gateway)["running"] == 0, "their slots are free")
    codex.send_signal(signal.SIGCONT)
    assert gateway.post(ask(upstream.say("x"))).status_code == 200
    # What the child has been asked before is done, and undone.
    wait_until(lambda: not upstream.control.state()["in_flight"], "the upstream is at rest")
    wait_until(lambda: len(lines(gateway)) == 6, "every line is written")
    assert {line["outcome"] for line in lines(gateway)} == {"client_left", "completed"}
    unloaded = child(gateway)["counters"]
    assert not set(unloaded) & {"unknown_id", "end_turn_failed", "interrupt_failed"}, unloaded


@pytest.mark.app_server  # the one child is killed before anybody asks
def test_who_leaves_while_the_child_starts_waits_no_longer(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway = make_gateway(
        WORKER_QUEUE_TIMEOUT_MS="30000",
        WORKER_BACKOFF_INITIAL_MS="30000",
        WORKER_BACKOFF_MAX_MS="30000",
    )
    gateway.child().kill()
    wait_until(lambda: child(gateway)["state"] == "backing_off", "the child is gone")
    connection = send(gateway.port, upstream.say("x"))
    wait_until(lambda: child(gateway)["running"] == 1, "it waits for the child")
    connection.close()
    wait_until(lambda: child(gateway)["running"] == 0, "it waits no longer")


def test_a_crowd_at_once(make_gateway: Any, upstream: Upstream) -> None:
    gateway = make_gateway(WORKER_MAX_CONCURRENCY=str(CROWD))
    marker = upstream.play(HELD)
    connections = [send(gateway.port, marker, stream=n % 2 == 0) for n in range(CROWD)]
    upstream.control.wait("held", marker, count=CROWD, timeout_ms=30_000)
    assert child(gateway)["running"] == CROWD
    for connection in connections:
        connection.close()
    wait_until(lambda: child(gateway)["running"] == 0, "every slot is free")
    upstream.control.wait("peer_closed", marker, count=CROWD)
    wait_until(lambda: len(lines(gateway)) == CROWD, "every line is written")
    assert {line["outcome"] for line in lines(gateway)} == {"client_left"}
    assert gateway.post(ask(upstream.say("x"))).status_code == 200


def test_the_choices_of_one_request_end_together(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play(HELD)
    connection = send(gateway.port, marker, n=4)
    upstream.control.wait("held", marker, count=4)
    connection.close()
    upstream.control.wait("peer_closed", marker, count=4)
    wait_until(lambda: child(gateway)["running"] == 0, "no turn runs")


@contextmanager
def relay(port: int) -> Iterator[int]:
    """A reverse proxy without manners: it passes bytes on, and closes one side when the other one closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_relay, args=(listener, port), daemon=True).start()
        yield listener.getsockname()[1]


def _relay(listener: socket.socket, port: int) -> None:
    with suppress(OSError):  # the listener is closed: the test is over
        front, _ = listener.accept()
        with front, socket.create_connection(("127.0.0.1", port)) as back:
            while True:
                for ready in select.select([front, back], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (back if ready is front else front).sendall(data)


def test_behind_a_proxy_it_is_the_same(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play(HELD)
    with relay(gateway.port) as port:
        connection = send(port, marker)
        upstream.control.wait("held", marker)
        connection.close()
        upstream.control.wait("peer_closed", marker)
    wait_until(lambda: child(gateway)["running"] == 0, "no turn runs")


def test_the_model_list_waits_for_nobody(make_gateway: Any) -> None:
    gateway = make_gateway(ready=False, CODEX_BIN="/bin/false", WORKER_QUEUE_TIMEOUT_MS="30000")
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as connection:
        connection.sendall(request_bytes("GET", f"/v1/models/{MODEL}"))
    left = wait_until(
        lambda: [line for line in gateway.events("request") if line["outcome"] == "client_left"],
        "its line",
    )
    assert left[0]["status"] == 499
