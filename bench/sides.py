"""Sides of the comparison: the ways to the upstream, each with a load generator, and the upstream that they share."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

from app.settings import VARIABLES
from bench import processes
from bench.agent_loop import LoopJob, LoopReport, Round
from bench.codex_pipe import PLAIN_VARIABLE, UPSTREAM_KEY_VARIABLE, WEBSOCKETS_VARIABLE
from bench.http_load import KEYS_VARIABLE
from bench.jobs import Job, Report
from bench.measure import Spent, cpu_ms, machine_cpu_ms, parent_of, reaped_cpu_ms, watching
from bench.processes import environment, exchange, first_line, module

KEYS = 4
CACHE_LIFETIME_S = 600.0
"""Longer than any run of a conversation; OpenAI keeps a prefix for 5 to 10 minutes."""

_EXEC_REQUESTS = 20
_EXEC_CLIENTS = 32  # each is a process of 100 MB
_PLAIN = {PLAIN_VARIABLE: "1"}
_SETTLE_S = 0.1  # threads are still being unloaded: that belongs to this job, not to the next


@dataclass(frozen=True, slots=True)
class Place:
    """Where sides are started: a folder of the run's own, the binary, the upstream's address and process.

    `more` is added to the environment of whoever speaks to the upstream.
    """

    folder: Path
    binary: Path
    upstream_url: str
    upstream_pid: int
    more: Mapping[str, str] = field(default_factory=dict)
    websockets: bool = False

    def home(self, name: str) -> Path:
        """Make a folder for a side."""
        home = self.folder / name
        home.mkdir(mode=0o700, exist_ok=True)
        return home


@dataclass(frozen=True, slots=True)
class Side:
    """One way to the upstream. `pids` are the processes that it costs: itself (self) and perhaps its child (codex)."""

    name: str
    load: Popen[bytes]
    pids: Mapping[str, int]
    upstream_pid: int
    reaps: bool = False
    """Its children end with each answer."""
    most_loops: int = 16
    """At once; none, where it is 0."""
    only_streams: bool = False
    """It passes on whether an answer is to be streamed, and the upstream streams every answer."""
    most_requests: int = 1 << 30
    """In one round: fewer tell as much of a side that is slow. At least one for each client."""
    most_clients: int = 1 << 30

    def run(self, job: Job) -> tuple[Report, Spent]:
        """Do one job; return its report and what it cost. Blocks."""
        requests = min(job.requests, max(self.most_requests, job.concurrency))
        answer, spent = self._do("questions", replace(job, requests=requests))
        return Report(**answer), spent

    def run_loops(self, job: LoopJob) -> tuple[LoopReport, Spent]:
        """Run agent loops; return their report and what they cost. Blocks."""
        answer, spent = self._do("loops", job)
        rounds = [[Round(**each) for each in loop] for loop in answer.pop("loops")]
        return LoopReport(rounds, **answer), spent

    def _do(self, kind: str, job: Job | LoopJob) -> tuple[dict[str, Any], Spent]:
        began, before = time.monotonic(), self._cpu()
        with watching(self.pids) as peaks:
            answer = exchange(self.load, {"kind": kind, "job": asdict(job)})
        time.sleep(_SETTLE_S)
        after = self._cpu()
        cpu = {name: after[name] - before[name] for name in after}
        # The load generator of a direct side is the side itself.
        known = sum(ms for name, ms in cpu.items() if name not in ("machine", "elsewhere"))
        cpu["elsewhere"] = cpu.pop("machine") - known
        return answer, Spent(cpu, peaks, time.monotonic() - began)

    def _cpu(self) -> dict[str, float]:
        meters: dict[str, Callable[[], float]] = {
            name: partial(cpu_ms, pid) for name, pid in self.pids.items()
        }
        if self.reaps:
            meters["codex"] = partial(reaped_cpu_ms, self.load.pid)
        if self.load.pid not in self.pids.values():
            meters["load"] = partial(cpu_ms, self.load.pid)
        meters |= {"upstream": partial(cpu_ms, self.upstream_pid), "machine": machine_cpu_ms}
        return {name: meter() for name, meter in meters.items()}


@dataclass(frozen=True, slots=True)
class Gateway:
    """The running gateway: where it listens, the keys that open it, its worker and the worker's child."""

    port: int
    keys: tuple[str, ...]
    worker_pid: int
    child_pid: int
    user_agent: str
    model: str


@contextmanager
def upstream(home: Path) -> Iterator[tuple[str, int]]:
    """Run the scripted upstream with its prompt cache; yield its address and its process id."""
    arguments = ("scripted_upstream", "--control", "--port", "0", "--until-stdin-closes")
    cache = ("--prompt-cache", str(CACHE_LIFETIME_S))
    with module((*arguments, *cache), environment(home)) as process:
        yield first_line(process)["url"], process.pid


@contextmanager
def gateway(
    place: Place,
    settings: Mapping[str, str],
    name: str = "gateway",
    checkout: Path = processes.ROOT,
) -> Iterator[Gateway]:
    """Run a checkout's gateway as an operator would and wait until it is ready. Raises `StartError`."""
    home = place.home(name)
    port, log = processes.free_port(), home.with_suffix(".log")
    keys = tuple(secrets.token_hex(16) for _ in range(KEYS))
    ours = {
        "PROXY_API_KEY": keys[0],
        "PROXY_API_KEYS": ",".join(f"key{n}={key}" for n, key in enumerate(keys[1:], 2)),
        "PORT": str(port),
        "CODEX_HOME": str(home),
        "CODEX_BIN": str(place.binary),
        "CODEX_UPSTREAM_URL": place.upstream_url,
        "CODEX_UPSTREAM_API_KEY": "x",
        "CODEX_UPSTREAM_WEBSOCKETS": str(place.websockets).lower(),
        "LOG_LEVEL": "info",
    }
    # A developer's .env must not decide what is measured; the environment wins over it.
    defaults = {entry.metadata["name"]: entry.metadata["default"] for entry in VARIABLES}
    told = {name: text for name, text in defaults.items() if text} | ours | dict(settings)
    argv = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    with processes.service(
        argv, environment(home) | dict(place.more) | told, log, checkout
    ) as process:
        ready = partial(processes.get, port, "/readyz", keys[0])
        status = processes.await_answer(process, ready, "The gateway", log)
        child = status["child"]
        model = processes.get(port, "/v1/models", keys[0])[1]["data"][0]["id"]
        worker_pid = parent_of(child["pid"])
        yield Gateway(port, keys, worker_pid, child["pid"], child["user_agent"], model)


@contextmanager
def through_gateway(place: Place, running: Gateway, name: str = "gateway") -> Iterator[Side]:
    """Run the HTTP load generator against a running gateway."""
    env = {**environment(place.folder), KEYS_VARIABLE: ",".join(running.keys)}
    with module(("bench.http_load", str(running.port)), env) as load:
        pids = {"self": running.worker_pid, "codex": running.child_pid}
        yield Side(name, load, pids, place.upstream_pid)


@contextmanager
def directly(place: Place, name: str) -> Iterator[Side]:
    """Run the hand-written client with a child of its own: threads are cold, warm or kept.

    The naive one has cold threads, and a child with codex's own defaults.
    """
    home = place.home(name)
    threads, more = ("cold", _PLAIN) if name == "naive" else (name, {})
    arguments = ("bench.direct_load", threads, str(home), place.upstream_url, str(place.binary))
    with module(arguments, _with_key(place, home) | more) as load:
        pids = {"self": load.pid, "codex": first_line(load)["child_pid"]}
        most_loops = 0 if name in ("warm", "naive") else 16
        yield Side(name, load, pids, place.upstream_pid, most_loops=most_loops)


@contextmanager
def by_exec(place: Place, name: str) -> Iterator[Side]:
    """Run `codex exec` for each question; the plain one with its own defaults."""
    home = place.home(name)
    more = _PLAIN if name == "plain-exec" else {}
    arguments = ("bench.exec_load", str(home), place.upstream_url, str(place.binary))
    with module(arguments, _with_key(place, home) | more) as load:
        first_line(load)
        yield Side(
            name,
            load,
            {"self": load.pid},
            place.upstream_pid,
            reaps=True,
            most_loops=0,
            most_requests=_EXEC_REQUESTS,
            most_clients=_EXEC_CLIENTS,
        )


def _with_key(place: Place, home: Path) -> dict[str, str]:
    websockets = {WEBSOCKETS_VARIABLE: "1"} if place.websockets else {}
    return {**environment(home), **place.more, UPSTREAM_KEY_VARIABLE: "x", **websockets}
