"""Reloads under load, with a child that needs three seconds to boot: the figures that the service promises."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.ledger import Ledger
from tests.e2e.harness import Gateway, Upstream, end
from tests.e2e.reloading import Load, Site, hup, wait_reloads

STREAMS = 20
STREAM_S = 5.0
BOOT_S = 3
LONGEST_WAIT_MS = 250


@pytest.fixture
def service(tmp_path: Path, upstream: Upstream) -> Iterator[Gateway]:
    site = Site(tmp_path / "site", upstream)
    site.set(CODEX_BIN=site.codex("slow-codex", f"sleep {BOOT_S}"))
    gateway = site.start()
    gateway.wait_ready()
    yield gateway
    end(gateway)


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("reloads", [1, 10])
def test_a_reload_under_load(
    service: Gateway, upstream: Upstream, settle: Callable[[Ledger], None], reloads: int
) -> None:
    load = Load(service, upstream)
    try:
        load.probe()
        for done in range(1, reloads + 1):
            load.streams(STREAMS, STREAM_S)
            hup(service)
            wait_reloads(service, done)
        whole = load.whole()
    finally:
        load.stop_probing()
    due, waits = STREAMS * reloads, load.waits_ms
    ledger = Ledger(f"{reloads} reloads, each under {STREAMS} streams of {STREAM_S:g} s")
    lost = [] if whole == due else [f"{due - whole} of {due} streams"]
    ledger.promise("streams are whole", f"{whole} of {due}", lost)
    ledger.promise("probes are answered 200", len(waits), load.errors)
    ledger.figure("median wait of a new connection", f"{statistics.median(waits):.1f} ms")
    ledger.within("longest wait of a new connection", max(waits), LONGEST_WAIT_MS, "ms")
    settle(ledger)
