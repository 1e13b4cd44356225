"""What one caller may take from the others: nothing of their time, and never all of a thing that is scarce."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from tests.e2e.harness import IS_SHARED, Gateway, Upstream, ask, wait_until
from tests.e2e.raw_http import request_bytes

CONNECTIONS, AHEAD = 8, 120
CHAT = "/v1/chat/completions"
OTHER = "sk-other-7hG3nW5zL1sD8yX6bT2q"
MEBIBYTE = 1 << 20


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(stack: ExitStack, gateway: Gateway, data: bytes = b"") -> socket.socket:
    client = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=30))
    client.sendall(data)
    return client


def status_for_other(gateway: Gateway, body: Any) -> int:
    headers = {"Authorization": f"Bearer {OTHER}"}
    return requests.post(gateway.url + CHAT, json=body, headers=headers, timeout=30).status_code


def refusals(gateway: Gateway) -> list[str]:
    return [line["error_code"] for line in gateway.events("request") if line["status"] == 429]


def test_what_strangers_send_ahead_does_not_keep_a_key_waiting(lend_gateway: Any) -> None:
    gateway = lend_gateway()
    ahead = b"GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n" * AHEAD
    with ExitStack() as stack:
        # All are connected before anybody asks: so hardly any time is between what they send.
        *strangers, last, known = [connect(stack, gateway) for _ in range(CONNECTIONS + 1)]
        for stranger in strangers:
            stranger.sendall(ahead)
        known.sendall(request_bytes("GET", "/v1/models"))
        last.sendall(ahead)
        assert known.recv(12) == b"HTTP/1.1 200"

        def answered() -> list[str]:
            return [line["route"] for line in gateway.events("request")]

        everybody = CONNECTIONS * AHEAD
        wait_until(lambda: answered().count("unmatched") == everybody, "everybody is answered")
    routes = [route for route in answered() if route != "/readyz"]
    assert routes.index("/v1/models") < CONNECTIONS * AHEAD // 2


def test_a_key_whose_turns_never_end_leaves_some_to_another(
    lend_gateway: Any, upstream: Upstream, connections: ExitStack
) -> None:
    gateway = lend_gateway(
        PROXY_API_KEYS=f"other={OTHER}",
        WORKER_MAX_CONCURRENCY="4",
        WORKER_QUEUE_TIMEOUT_MS="500" if IS_SHARED else "5000",  # in which processes start
        PROXY_SSE_MAX_CONCURRENCY="8",
    )
    endless = upstream.say("x", hold="end")
    data = request_bytes("POST", CHAT, json.dumps(ask(endless, stream=True)).encode())
    for _ in range(6):
        connect(connections, gateway, data)
    wait_until(
        lambda: refusals(gateway) == ["WORKER_BUSY"] * 3, "what is above the share is refused"
    )
    assert status_for_other(gateway, ask(upstream.say("x"))) == 200
    connections.close()
    upstream.control.release(endless)


@pytest.mark.parametrize("sent", [MEBIBYTE * 9 // 10, 1], ids=["large", "dripped"])
def test_bodies_of_one_key_leave_room_to_those_of_another(
    lend_gateway: Any, upstream: Upstream, connections: ExitStack, sent: int
) -> None:
    gateway = lend_gateway(
        PROXY_API_KEYS=f"other={OTHER}",
        PROXY_BODY_MEMORY_BYTES=str(4 * MEBIBYTE),
        PROXY_MAX_BODY_BYTES=str(MEBIBYTE),
    )
    head = request_bytes("POST", CHAT, b" ", Content_Length=str(MEBIBYTE), Connection="keep-alive")
    for _ in range(80):
        connect(connections, gateway, head + b" " * (sent - 1))
    wait_until(lambda: refusals(gateway), "what is above the share is refused")
    assert set(refusals(gateway)) == {"BODIES_FULL"}
    body = ask(upstream.say("x"))
    body["messages"][0]["content"] += "x" * 100_000
    assert status_for_other(gateway, body) == 200
