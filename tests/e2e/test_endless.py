"""Upstreams that never come to an end: given up by the client, and then by the child, whatever it takes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, ask, end, start_gateway, wait_until
from tests.e2e.raw_http import request_bytes
from tests.e2e.scrape import scrape, total


@pytest.fixture
def flooding() -> Iterator[Upstream]:
    """An upstream of the test's own: one that floods has no time for others."""
    running = Upstream()
    yield running
    running.close()


@pytest.fixture
def watched(tmp_path: Path, flooding: Upstream) -> Iterator[Gateway]:
    running = start_gateway(tmp_path, flooding, WORKER_PROBE_INTERVAL_MS="300")
    running.wait_ready()
    yield running
    end(running)


@contextmanager
def asking(gateway: Gateway, upstream: Upstream, failure: str, condition: str) -> Iterator[str]:
    """Ask, and wait until the upstream is so far; at the end of the block the client leaves."""
    marker = upstream.play({"failure": failure})
    asked = request_bytes("POST", "/v1/chat/completions", json.dumps(ask(marker)).encode())
    with socket.create_connection(("127.0.0.1", gateway.port), DEADLINE_S) as client:
        client.sendall(asked)
        upstream.control.wait(condition, marker, timeout_ms=30_000)
        yield marker


def worked_s(gateway: Gateway) -> float:
    """How long its codex processes have kept a processor busy."""
    times = [process.cpu_times() for process in gateway.codex_processes()]
    return sum(time.user + time.system for time in times)


def test_a_head_without_end_is_left_at_once(watched: Gateway, flooding: Upstream) -> None:
    with asking(watched, flooding, "endless_before_headers", "arrived") as marker:
        pass
    flooding.control.wait("peer_closed", marker, timeout_ms=30_000)
    assert total(scrape(watched), "codex_worker_replacements_total") == 0


def test_a_line_without_end_is_left_by_the_child_or_its_successor(
    watched: Gateway, flooding: Upstream
) -> None:
    with asking(watched, flooding, "endless_mid_stream", "headers_sent") as marker:
        before = worked_s(watched)
        wait_until(lambda: worked_s(watched) > before + 1, "the line is in full flow")
    flooding.control.wait("peer_closed", marker, timeout_ms=30_000)
    wait_until(lambda: flooding.control.state()["open_connections"] == 0, "nothing is open")
    # A child that goes on reading is replaced; sometimes codex sees the interrupt in time, and lets go by itself.
    replacements = "codex_worker_replacements_total"
    scraped = scrape(watched)
    assert total(scraped, replacements) == total(scraped, replacements, reason="runaway")
    answer = watched.post(ask(flooding.say("fine")))
    assert answer.json()["choices"][0]["message"]["content"] == "fine"
