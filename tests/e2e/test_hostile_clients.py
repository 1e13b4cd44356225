"""Clients that mean harm, or are merely broken, cost nobody else anything."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import ExitStack, suppress
from typing import Any

import psutil
import pytest

from tests.e2e.harness import KEY, Gateway, Upstream, ask, wait_until
from tests.e2e.raw_http import exchange, request_bytes
from tests.e2e.routes import Route, on_each_route
from tests.e2e.scrape import scrape, total

CHAT = "/v1/chat/completions"
CHUNKED = {"Content_Type": "application/json", "Transfer_Encoding": "chunked"}


@pytest.mark.app_server  # a turn that starts a process wants several descriptors for it
def test_connections_that_take_every_descriptor_make_room_for_others(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway()
    (worker,) = gateway.workers()
    worker.rlimit(psutil.RLIMIT_NOFILE, (worker.num_fds() + 5, 20_000))
    with ExitStack() as open_ones:
        for _ in range(60):
            flood = socket.create_connection(("127.0.0.1", gateway.port), 10)
            open_ones.enter_context(flood).sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        # Behind them in the kernel's queue, and before their deadline could have ended them all.
        assert gateway.get("/livez").status_code == 200
        assert gateway.post(ask(upstream.say("x"))).status_code == 200
    assert gateway.events("descriptors_exhausted")
    assert total(scrape(gateway), "codex_connections_cut_total", reason="made_room") > 0


@on_each_route
@pytest.mark.parametrize("authorization", ["", f"Bearer {KEY}"])
def test_a_body_in_endless_tiny_chunks_starves_nobody(
    gateway: Gateway, authorization: str, route: Route
) -> None:
    head = request_bytes(
        "POST", route.path, b"", Authorization=authorization, Connection="", **CHUNKED
    )
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as flood:
        flood.sendall(head)
        stop = threading.Event()

        def pour() -> None:
            try:
                while not stop.is_set():
                    flood.sendall(b"1\r\na\r\n" * 10_000)
            except OSError:
                return  # cut off: what should happen

        pouring = threading.Thread(target=pour)
        pouring.start()
        for _ in range(20):
            assert gateway.get("/livez").status_code == 200
        stop.set()
        with suppress(OSError):  # it may have been cut off already
            flood.shutdown(socket.SHUT_RDWR)
        pouring.join()
    assert len(gateway.workers()) == 1
    assert not [entry for entry in gateway.log() if "WORKER TIMEOUT" in entry["event"]]


@on_each_route
@pytest.mark.parametrize("chunks", [b"zz\r\nx\r\n0\r\n\r\n", b"2\r\nhello\r\n0\r\n\r\n"])
def test_broken_chunks_are_the_clients_mistake(
    gateway: Gateway, chunks: bytes, route: Route
) -> None:
    status, _, body = exchange(gateway, request_bytes("POST", route.path, b"", **CHUNKED) + chunks)
    assert status == 400
    assert json.loads(body)["error"]["code"] in {"INCOMPLETE_BODY", "INVALID_HTTP"}


@on_each_route
def test_a_client_that_does_not_read_holds_no_turn(
    make_gateway: Any, upstream: Upstream, route: Route
) -> None:
    gateway: Gateway = make_gateway(WORKER_MAX_CONCURRENCY="2", WORKER_QUEUE_TIMEOUT_MS="20000")
    items = [{"type": "message", "text": "x" * 60_000, "chunk": 60_000, "repeat": 400}]
    marker = upstream.play({"items": items})
    deaf = []
    for _ in range(2):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(route.raw(marker, stream=True))
        deaf.append(client)
    upstream.control.wait("arrived", marker, count=2)
    wait_until(lambda: gateway.get("/healthz").json()["child"]["running"] == 0, "no turn runs")
    assert gateway.post(ask(upstream.say("x"))).status_code == 200
    for client in deaf:
        client.close()


def test_a_body_of_too_many_values_is_refused_before_the_rest_of_it_has_come(
    gateway: Gateway,
) -> None:
    declared = {"Content_Type": "application/json", "Content_Length": str(30_000_000)}
    head = request_bytes("POST", CHAT, b"", **declared)
    begun = json.dumps(ask("none"))[:-1].encode() + b', "prediction": [' + b"{}," * 200_000
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as client:
        client.sendall(head + begun)
        client.settimeout(30)
        answer = b""
        while b'"retryable"' not in answer:
            answer += client.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"TOO_MANY_VALUES"' in answer
    assert b"more than 100000 JSON values" in answer


def test_as_much_as_agents_send_is_served(gateway: Gateway, upstream: Upstream) -> None:
    properties = {f"p{number}": {"type": "string", "description": "x"} for number in range(60)}
    parameters = {"type": "object", "properties": properties}
    tools = [
        {"type": "function", "function": {"name": f"t{number}", "parameters": parameters}}
        for number in range(128)
    ]
    marker = upstream.say("hello")
    before = [
        {"role": "user", "content": [{"type": "text", "text": f"{n} " * 20}]} for n in range(5_000)
    ]
    last = ask(marker)["messages"]
    answer = gateway.post(ask(marker, messages=[*before, *last], tools=tools))
    assert answer.status_code == 200, answer.text
    (sent,) = upstream.control.requests(marker)
    assert len([item for item in sent["body"]["input"] if item.get("role") == "user"]) == 5_001
