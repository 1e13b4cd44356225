"""Thousands of requests of every kind, with each backend: what a service holds must not grow with what it has done."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import reconciliation
from tests.chaos.checks import check_due
from tests.chaos.holdings import Holdings, when_warm
from tests.chaos.ledger import Ledger
from tests.chaos.load import MAX_BODY_BYTES, Load
from tests.chaos.plan import Weather, planned_requests
from tests.chaos.request_kinds import Asked
from tests.e2e.harness import Gateway, Upstream, end, start_gateway, wait_until
from tests.e2e.scrape import scrape, total
from tests.e2e.turn_processes import codex_of

SEED = int(os.environ.get("CHAOS_SEED") or 1)
GROWTH = 1.10
MORE_DESCRIPTORS = 4
MORE_THREADS = 4
CHILD_THREADS = 48
"""At rest. Under load codex fills a pool by need, which it gives up after ten seconds, with its memory."""

HOME_MIB = 12
"""What CODEX_HOME may take: databases, catalogs and the files of the metrics, none of which grows with requests. SQLite
writes each log of a database up to 4 MiB before it begins again at its start; that of the answers has use by key."""

SETTINGS = {
    "WORKER_KEPT_THREADS": os.environ.get("CHAOS_KEPT_THREADS", ""),
    "WORKER_REQUEST_TIMEOUT_MS": "5000",
    "PROXY_TIMEOUT_MS": "30000",
    "PROXY_SSE_KEEPALIVE_MS": "500",
    "PROXY_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
}


@dataclass(frozen=True, slots=True)
class Run:
    """So many requests with one backend. `at_rest` is how many codex processes there are with nothing to do."""

    backend: str
    requests: int
    clients: int
    at_rest: int
    settings: Mapping[str, str] = field(default_factory=dict)


RUNS = (
    Run("app_server", int(os.environ.get("CHAOS_REQUESTS") or 10_000), clients=24, at_rest=1),
    Run(
        "per_request",
        int(os.environ.get("CHAOS_REQUESTS_ALONE") or 1_000),
        clients=8,
        at_rest=0,
        settings={"PROXY_USE_APP_SERVER": "false"},
    ),
)


def holdings(gateway: Gateway) -> Holdings:
    (worker,) = gateway.workers()
    children = codex_of(gateway)
    # Links lead to the codex binary, which lies elsewhere.
    files = [path.lstat() for path in gateway.home.rglob("*") if not path.is_symlink()]
    return Holdings(
        worker.memory_info().rss / (1 << 20),
        sum(child.memory_info().rss for child in children) / (1 << 20),
        worker.num_fds(),
        worker.num_threads(),
        sum(child.num_threads() for child in children),
        sum(file.st_blocks * 512 for file in files) / (1 << 20),
    )


@pytest.fixture
def service(tmp_path: Path, upstream: Upstream, run: Run) -> Iterator[Gateway]:
    gateway = start_gateway(tmp_path, upstream, **{**SETTINGS, **run.settings})
    gateway.wait_ready()
    yield gateway
    end(gateway)


def await_rest(gateway: Gateway, upstream: Upstream, run: Run) -> None:
    def child() -> dict[str, Any]:
        state: dict[str, Any] = gateway.get("/healthz").json()["child"]
        return state

    wait_until(lambda: (child()["running"], child()["waiting"]) == (0, 0), "no turn runs")
    wait_until(lambda: upstream.control.state()["open_connections"] == 0, "nothing is open")
    wait_until(lambda: total(scrape(gateway), "codex_streams_active") == 0, "no stream is open")
    wait_until(lambda: len(codex_of(gateway)) == run.at_rest, "no process of a turn is left")
    wait_until(
        lambda: all(child.num_threads() <= CHILD_THREADS for child in codex_of(gateway)),
        "the child is at rest",
    )


def soon(requests: Iterator[Asked], count: int) -> list[Asked]:
    """Take some requests, to be made as fast as they can be."""
    return [replace(asked, at_s=0.0) for asked in islice(requests, count)]


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.backend)
def test_thousands_of_requests(
    run: Run, service: Gateway, upstream: Upstream, settle: Callable[[Ledger], None]
) -> None:
    load = Load(service, upstream, run.clients)
    requests = planned_requests(SEED, Weather(seconds=0))
    ledger = Ledger(f"{run.requests} requests of seed {SEED}, {run.backend}")
    seen: list[Holdings] = []
    for _ in range(10):
        load.run(soon(requests, run.requests // 10))
        await_rest(service, upstream, run)
        seen.append(holdings(service))
        ledger.figure(f"after {len(load.results)}", seen[-1])
    load.close()
    compare(ledger, when_warm(seen), seen[-1])
    for result in load.results:
        check_due(result, met_a_fault=False)
    problems = [sentence for result in load.results for _, sentence in result.problems]
    endings = Counter(result.ending.value for result in load.results)
    ledger.promise("every request ends as it should", endings.total(), problems)
    entries = reconciliation.log_entries(service)
    ledger.promise(
        "clients and log agree",
        len(entries),
        reconciliation.compare_with_log(load.results, entries),
    )
    problems = reconciliation.compare_with_metrics(entries, scrape(service))
    ledger.promise("log and metrics agree", reconciliation.logged(entries).total(), problems)
    count, problems = reconciliation.faults_of_the_log(service)
    ledger.promise("the log is JSON, without defects and secrets", count, problems)
    settle(ledger)


def compare(ledger: Ledger, warm: Holdings, now: Holdings) -> None:
    """Hold what there is at the end against what there was after the first tenth."""
    ledger.within("memory of the worker", now.worker_mib, warm.worker_mib * GROWTH, "MiB")
    ledger.within("memory of the child", now.child_mib, warm.child_mib * GROWTH, "MiB")
    ledger.within("descriptors", now.descriptors, warm.descriptors + MORE_DESCRIPTORS)
    ledger.within("OS threads of the worker", now.threads, warm.threads + MORE_THREADS)
    ledger.within("OS threads of the child", now.child_threads, warm.child_threads + MORE_THREADS)
    ledger.within("CODEX_HOME", now.home_mib, HOME_MIB, "MiB")
