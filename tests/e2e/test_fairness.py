"""What one caller may take from the others: nothing of their time, and never all of a thing that is scarce."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

from tests.e2e.harness import wait_until

CONNECTIONS, AHEAD = 8, 120


def test_what_strangers_send_ahead_does_not_keep_a_key_waiting(lend_gateway: Any) -> None:
    gateway = lend_gateway()
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stranger = stack.enter_context(
                socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
            )
            stranger.sendall(b"GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n" * AHEAD)
        assert gateway.get("/v1/models").status_code == 200

        def answered() -> list[str]:
            return [line["route"] for line in gateway.events("request")]

        everybody = CONNECTIONS * AHEAD
        wait_until(lambda: answered().count("unmatched") == everybody, "everybody is answered")
    routes = [route for route in answered() if route != "/readyz"]
    assert routes.index("/v1/models") < CONNECTIONS * AHEAD // 2
