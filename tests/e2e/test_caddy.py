"""Debian's Caddy with deploy/caddy/Caddyfile, in front of a gateway and of an address where nobody listens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.caddy import Caddy
from tests.e2e.harness import Gateway, Upstream
from tests.e2e.in_flight import HELD, read_frame_by_frame, send
from tests.e2e.raw_http import exchange, request_bytes
from tests.e2e.replicas import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture
def front(gateway: Gateway, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway, with the port of Caddy."""
    addresses = {
        "127.0.0.1:11435": f"127.0.0.1:{free_port()}",
        "127.0.0.1:11436": f"127.0.0.1:{gateway.port}",
    }
    caddy = Caddy(tmp_path / "caddy", "Caddyfile", addresses)
    yield replace(gateway, port=caddy.port)
    caddy.close()


def test_the_replica_that_is_there_serves_and_each_frame_arrives_before_the_next_is_written(
    front: Gateway, upstream: Upstream
) -> None:
    read_frame_by_frame(front, upstream)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_turn(
    front: Gateway, upstream: Upstream, stream: bool
) -> None:
    marker = upstream.play(HELD)
    connection = send(front.port, marker, stream=stream)
    upstream.control.wait("held", marker)
    connection.close()
    upstream.control.wait("peer_closed", marker)


def test_what_is_for_operators_cannot_be_reached(front: Gateway) -> None:
    for target in (
        "/internal/maintenance",
        "/internal",
        "//internal/maintenance",
        "/%69nternal/maintenance",
        "/v1/../internal/maintenance",
        "/INTERNAL/maintenance",
        "/metrics",
        "//metrics",
        "/%6detrics",
        "/metrics?x=1",
    ):
        status, _, body = exchange(front, request_bytes("GET", target))
        assert status == 404, target
        assert b"enabled" not in body
        assert b"codex_" not in body
