"""A moment of the child, for the health routes, the gauges and the command line."""

from __future__ import annotations

from dataclasses import dataclass

from app.backend.admission import Admission
from app.backends.app_server.connection import Connection
from app.codex.home import DiskFull, HomeRefused, HomeUnwritable
from app.codex.login import Login
from app.process.lifecycle import Lifecycle, State
from app.process.living import LastExit
from app.process.supervisor import Supervisor

_NEEDS_A_PERSON = frozenset({HomeRefused.reason, HomeUnwritable.reason, DiskFull.reason})


@dataclass(frozen=True, slots=True)
class Status:
    """See the module. `reason` says why it is not ready; `retiring` counts children that another has replaced.

    `generation` is the one that turns begin on, 0 before the first; `counters` are its own.
    """

    ready: bool
    degraded: bool
    reason: str | None
    state: str
    generation: int
    pid: int | None
    user_agent: str
    restarts: int
    failures: int
    backoff_ms: int
    handshake_ms: int | None
    last_exit: LastExit | None
    retiring: int
    running: int
    waiting: int
    counters: dict[str, int]


def unready_reason(
    life: Lifecycle,
    last_exit: LastExit | None,
    *,
    is_ready: bool,
    is_draining: bool,
    lacks_login: bool,
) -> str | None:
    """Return in a word why no request would be served now; None if one would. Pure."""
    if is_draining:
        return "draining"
    if is_ready:
        return "upstream_auth" if lacks_login else None
    if last_exit is not None and last_exit.reason in _NEEDS_A_PERSON:
        return last_exit.reason
    if life.is_degraded:
        return "degraded"
    return "backoff" if life.state is State.BACKING_OFF else "starting"


def look(
    supervisor: Supervisor,
    generation: Connection | None,
    admission: Admission,
    login: Login,
    *,
    is_draining: bool,
) -> Status:
    """Return where the child is now. Does not block."""
    life, child = supervisor.lifecycle, supervisor.child
    reason = unready_reason(
        life,
        supervisor.last_exit,
        is_ready=supervisor.is_ready,
        is_draining=is_draining,
        lacks_login=login.is_missing or login.is_refused,
    )
    return Status(
        ready=reason is None,
        degraded=life.is_degraded,
        reason=reason,
        state=life.state.value,
        generation=generation.number if generation else 0,
        pid=child.pid if child else None,
        user_agent=generation.user_agent if generation else "",
        restarts=life.restarts,
        failures=life.failures,
        backoff_ms=life.backoff_ms,
        handshake_ms=supervisor.handshake_ms,
        last_exit=supervisor.last_exit,
        retiring=supervisor.retiring,
        running=admission.running,
        waiting=admission.waiting,
        counters=dict(generation.counters + generation.channel.counters) if generation else {},
    )
