"""Upstreams that never come to an end: given up by the client, and then by the child, whatever it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.e2e.harness import Gateway, Upstream, ask, end, start_gateway, wait_until
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


def give_up(gateway: Gateway, upstream: Upstream, failure: str, condition: str) -> str:
    """Ask, wait until the upstream is in full flow, and leave."""
    marker = upstream.play({"failure": failure})
    with suppress(requests.exceptions.ReadTimeout):
        requests.post(
            f"{gateway.url}/v1/chat/completions",
            json=ask(marker),
            headers=gateway.headers,
            timeout=2,
        )
    upstream.control.wait(condition, marker)
    return marker


def test_a_head_without_end_is_left_at_once(watched: Gateway, flooding: Upstream) -> None:
    marker = give_up(watched, flooding, "endless_before_headers", "arrived")
    flooding.control.wait("peer_closed", marker, timeout_ms=5_000)
    assert total(scrape(watched), "codex_worker_replacements_total") == 0


def test_a_line_without_end_is_left_by_the_child_or_its_successor(
    watched: Gateway, flooding: Upstream
) -> None:
    marker = give_up(watched, flooding, "endless_mid_stream", "headers_sent")
    flooding.control.wait("peer_closed", marker, timeout_ms=30_000)
    wait_until(lambda: flooding.control.state()["open_connections"] == 0, "nothing is open")
    # A child that goes on reading is replaced; sometimes codex sees the interrupt in time, and lets go by itself.
    replacements = "codex_worker_replacements_total"
    scraped = scrape(watched)
    assert total(scraped, replacements) == total(scraped, replacements, reason="runaway")
    answer = watched.post(ask(flooding.say("fine")))
    assert answer.json()["choices"][0]["message"]["content"] == "fine"
