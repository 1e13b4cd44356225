"""Debian's Caddy with deploy/caddy/Caddyfile, in front of a gateway and of an address where nobody listens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.harness import DEADLINE_S, ROOT, Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import HELD, send
from tests.e2e.raw_http import exchange, request_bytes
from tests.e2e.replicas import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture
def front(gateway: Gateway, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway, with the port of Caddy: plain HTTP and any name, for a certificate wants one."""
    port, nobody = free_port(), free_port()
    text = (ROOT / "deploy" / "caddy" / "Caddyfile").read_text()
    changes = {
        "gateway.example.com": f"http://:{port}",
        "127.0.0.1:11435": f"127.0.0.1:{nobody}",
        "127.0.0.1:11436": f"127.0.0.1:{gateway.port}",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
    command = ["caddy", "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: listens(port, process, tmp_path / "log"), "Caddy listens")
        yield replace(gateway, port=port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)


def listens(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_it_is_served_by_the_replica_that_is_there_while_the_answer_goes_on(
    front: Gateway, upstream: Upstream
) -> None:
    said = {"type": "message", "deltas": ["a", "b"]}
    marker = upstream.play({"hold": True, "interval_ms": 50, "items": [said]})
    with front.post(ask(marker, stream=True), stream=True) as streamed:
        frames = (line for line in streamed.iter_lines(decode_unicode=True) if line)
        assert next(line for line in frames if '"content":"b"' in line)
        upstream.control.release(marker)
        assert list(frames)[-1] == "data: [DONE]"


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
