"""A storm over a real gateway: load and faults together, then calm, then the promises, one by one."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.chaos import reconciliation
from tests.chaos.checks import Ending, Fails, Result, check_due
from tests.chaos.faults import READY_WITHIN_S, Faults, fault_injecting_binary, inject
from tests.chaos.ledger import Ledger
from tests.chaos.load import MAX_BODY_BYTES, Load
from tests.chaos.plan import LAST_FAULTS, WORKER_KILL, Weather, planned_faults, planned_requests
from tests.chaos.request_kinds import Expects
from tests.e2e.harness import Upstream, end, start_gateway, wait_until
from tests.e2e.reloading import processes_below, reload_state
from tests.e2e.scrape import scrape, total

CLIENTS = 64
SETTINGS = {
    "LOG_LEVEL": "debug",
    "WORKER_MAX_CONCURRENCY": "12",
    "WORKER_QUEUE_MAX": "24",
    "WORKER_QUEUE_TIMEOUT_MS": "4000",
    "WORKER_REQUEST_TIMEOUT_MS": "5000",
    "WORKER_RPC_TIMEOUT_MS": "5000",
    "WORKER_BACKOFF_INITIAL_MS": "100",
    "WORKER_BACKOFF_MAX_MS": "500",
    "PROXY_TIMEOUT_MS": "30000",
    "PROXY_SSE_KEEPALIVE_MS": "200",
    "PROXY_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
}
REQUESTS_AFTERWARDS = 40
"""How many come when the last fault is over: the last child, too, has something to leave behind."""

CHILD_THREADS = 96
CHILD_RSS = 512 << 20
WORKER_DESCRIPTORS = 8
"""How many more a worker may hold at rest than right after its start."""


class Storm:
    """One gateway, one upstream, one seed."""

    def __init__(self, seed: int, weather: Weather, folder: Path, upstream: Upstream) -> None:
        self.seed = seed
        self.weather = weather
        self.upstream = upstream
        self.folder = folder / "faults"
        self.gateway = start_gateway(
            folder, upstream, CODEX_BIN=fault_injecting_binary(self.folder), **SETTINGS
        )
        self.faults = Faults(self.gateway, self.folder)
        self.load = Load(self.gateway, upstream, CLIENTS)

    @property
    def results(self) -> list[Result]:
        return self.load.results

    def break_out(self) -> None:
        """Let everything that is planned happen. Blocks until the last client is done."""
        self.gateway.wait_ready()
        self.descriptors = self._worker().num_fds()
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            faults = pool.submit(self._strike)
            requests = planned_requests(self.seed, self.weather)
            self.load.run(requests, faults.done, REQUESTS_AFTERWARDS)
            faults.result()
        self.lasted_s = time.monotonic() - began
        for result in self.results:
            self._put_in_context(result)

    def _strike(self) -> None:
        self.faults.run(planned_faults(self.seed, self.weather))
        self._wait_reloaded()
        self.faults.run(LAST_FAULTS)

    def _wait_reloaded(self) -> None:
        wait_until(
            lambda: reload_state(self.gateway)["state"] in {"none", "done"}, "reloads are done"
        )

    def _put_in_context(self, result: Result) -> None:
        times = result.began, result.ended
        is_cut_off = result.ending in {Ending.BROKEN, Ending.LEFT}
        if is_cut_off and self.faults.met(*times, kinds={WORKER_KILL}):
            result.ending = Ending.LOST  # and nobody may have had the time to note it
            result.problems.clear()
        check_due(result, met_a_fault=self.faults.met(*times))

    def _worker(self) -> psutil.Process:
        (worker,) = self.gateway.workers()
        return worker

    def calm_down(self) -> None:
        """Wait until nothing is left of the storm: one worker, one child, no turn, no connection upstream."""
        gateway = self.gateway
        self._wait_reloaded()
        wait_until(lambda: len(gateway.workers()) == 1, "retired workers are gone")
        wait_until(lambda: len(gateway.codex_processes()) == 1, "retired children are gone")
        gateway.wait_ready()

    def close(self) -> None:
        end(self.gateway)  # first: who still waits for an answer then gets none
        self.load.close()

    # The promises

    def ledger(self) -> Ledger:
        """Return the table. Blocks until what must come to rest has, or has had its time."""
        ledger = Ledger(f"Storm of seed {self.seed}, {self.lasted_s:.0f} s")
        self._tell_clients(ledger)
        self._tell_faults(ledger)
        self._tell_rest(ledger)
        self._tell_books(ledger)
        self._tell_end(ledger)
        return ledger

    def _tell_clients(self, ledger: Ledger) -> None:
        endings = Counter(result.ending for result in self.results)
        ledger.figure("requests", len(self.results))
        for ending in Ending:
            ledger.figure(f"  {ending.value}", endings[ending])
        for promise in Fails:
            wrong = [
                sentence
                for result in self.results
                for broken, sentence in result.problems
                if broken is promise
            ]
            ledger.promise(promise.value, len(self.results), wrong)
        busy = [result for result in self.results if result.code == "WORKER_BUSY"]
        ledger.figure("told that the service is busy", len(busy))
        due = [v for v in self.results if v.asked.expects is Expects.TEXT and v not in busy]
        served = [v for v in due if v.ending in {Ending.WHOLE, Ending.WHOLE_STREAM}]
        vain = [] if len(served) > len(due) / 2 else ["most requests failed: nothing was tested"]
        ledger.promise("most of what should succeed does", f"{len(served)} of {len(due)}", vain)

    def _tell_faults(self, ledger: Ledger) -> None:
        kinds = Counter(one.fault.kind for one in self.faults.happened)
        for kind, count in kinds.items():
            those = [one for one in self.faults.happened if one.fault.kind == kind]
            lasted = max(one.ended - one.began for one in those)
            ready = max(one.ready_s for one in those)
            met = sum(any(one.touches(v.began, v.ended) for one in those) for v in self.results)
            ledger.figure(
                f"  {kind}", f"{count} times, {lasted:.1f} s, {met} met it, ready in {ready:.1f} s"
            )
        slowest = max(one.ready_s for one in self.faults.happened)
        ledger.within("seconds to be ready again", slowest, READY_WITHIN_S)

    def _tell_rest(self, ledger: Ledger) -> None:
        for name, at_rest in self._rests().items():
            ledger.promise(name, "", [] if _comes_true(at_rest) else [f"not at rest: {name}"])
        loaded = inject(self.folder, self.faults.serving_child().pid, "loaded 0")
        health = self.gateway.health()
        wanted = health["kept"]["count"] + health["warm"]
        lost = [] if loaded == str(wanted) else [f"{loaded} are loaded, {wanted} kept or warm"]
        ledger.promise("only kept and warm threads stay in the child", loaded, lost)
        child, worker = self.gateway.child(), self._worker()
        ledger.within("OS threads of the child", child.num_threads(), CHILD_THREADS)
        ledger.within("memory of the child", child.memory_info().rss >> 20, CHILD_RSS >> 20, "MiB")
        ledger.figure("memory of the worker", f"{worker.memory_info().rss >> 20} MiB")
        held = self.descriptors + WORKER_DESCRIPTORS
        ledger.within("descriptors of the worker", worker.num_fds(), held)

    def _rests(self) -> dict[str, object]:
        gateway, control = self.gateway, self.upstream.control

        def child() -> dict[str, int]:
            state: dict[str, int] = gateway.get("/healthz").json()["child"]
            return state

        return {
            "one worker": lambda: len(gateway.workers()) == 1,
            "one child": lambda: len(gateway.codex_processes()) == 1,
            "every slot is back": lambda: child()["running"] == 0,
            "nobody waits": lambda: child()["waiting"] == 0,
            "no connection is open upstream": lambda: control.state()["open_connections"] == 0,
            "no stream is counted as open": lambda: (
                total(scrape(gateway), "codex_streams_active") == 0
            ),
        }

    def _tell_books(self, ledger: Ledger) -> None:
        gateway = self.gateway
        due = [result for result in self.results if reconciliation.must_be_logged(result)]
        _comes_true(
            lambda: not reconciliation.compare_with_log(due, reconciliation.log_entries(gateway))
        )
        entries = reconciliation.log_entries(gateway)
        ledger.promise(
            "clients and log agree",
            len(due),
            reconciliation.compare_with_log(self.results, entries),
        )
        reconciliation.tell_loop(ledger, entries)
        lines = reconciliation.logged(entries).total()
        ledger.promise(
            "log and metrics agree",
            lines,
            reconciliation.compare_with_metrics(entries, scrape(gateway)),
        )
        count, problems = reconciliation.faults_of_the_log(gateway)
        ledger.promise("the log is JSON, without defects and secrets", count, problems)

    def _tell_end(self, ledger: Ledger) -> None:
        code = self.gateway.stop()
        ledger.promise("TERM ends it with 0", code, [] if code == 0 else [f"exit code {code}"])
        left = processes_below(self.gateway)
        ledger.promise("no process is left behind", len(left), left)


def _comes_true(condition: object, within_s: float = 10.0) -> bool:
    """Wait for an outside condition like `wait_until`, and say whether it came true."""
    assert callable(condition)
    deadline = threading.Event()
    timer = threading.Timer(within_s, deadline.set)
    timer.daemon = True
    timer.start()
    while not condition():
        if deadline.wait(0.05):
            return False
    timer.cancel()
    return True
