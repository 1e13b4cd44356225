"""Health of a backend at one moment, for the health routes, the gauges and the command line. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.process.lifecycle import LastExit, Moment


@dataclass(frozen=True, slots=True)
class UpstreamFailure:
    """The upstream could not be reached: when (ISO-8601, UTC), a word for the cause, and what was said and found."""

    at: str
    cause: str
    detail: str


@dataclass(frozen=True, slots=True)
class Kept:
    """Conversations that wait for their next round: how many, about how many bytes, and how many were given up."""

    count: int = 0
    size: int = 0
    evicted: dict[str, int] = field(default_factory=dict)


NOTHING_KEPT = Kept()


@dataclass(frozen=True, slots=True)
class Health:
    """State of a backend. `reason` says in a word why it is not ready; `degraded` that it keeps failing.

    The rest is for operators, and about the process that new turns begin on: `generation` numbers it (0 before the
    first), `retiring` counts processes that another has replaced, `counters` are protocol anomalies of this process.
    `history` has what happened to the processes last, the newest first. `running` and `waiting` are turns and requests
    at the gateway's admission, and `backend` is which one this is: the engine adds these. `kept` is what this process
    keeps of conversations, `warm` how many threads it has ready for new ones.

    Where each turn has a process of its own, there is no `pid` but `pids`, of which `spare` have no turn yet, and
    `generation` is 1 from the first start on: the counters are those of all of them.
    """

    ready: bool
    degraded: bool = False
    reason: str | None = None
    state: str = "READY"
    generation: int = 0
    pid: int | None = None
    user_agent: str = ""
    codex_version: str = ""
    restarts: int = 0
    failures: int = 0
    backoff_ms: int = 0
    handshake_ms: int | None = None
    last_exit: LastExit | None = None
    history: tuple[Moment, ...] = ()
    last_upstream_failure: UpstreamFailure | None = None
    retiring: int = 0
    running: int = 0
    waiting: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    kept: Kept = field(default_factory=lambda: NOTHING_KEPT)
    warm: int = 0
    backend: str = ""
    pids: tuple[int, ...] = ()
    spare: int = 0

    @property
    def processes(self) -> tuple[int, ...]:
        """Return the process ids of what new turns begin on."""
        return self.pids or (() if self.pid is None else (self.pid,))
