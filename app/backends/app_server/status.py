"""Status of the child: its supervisor, its connection and its login, put into the backend's health."""

from __future__ import annotations

from app.backend.health import NOTHING_KEPT, Health, Kept
from app.backends.app_server.connection import Connection
from app.codex.binary import BinaryRefused
from app.codex.home import DiskFull, HomeRefused, HomeUnwritable, LoginReadOnly
from app.codex.login import Login
from app.codex.upstream_failures import UpstreamFailures
from app.process.lifecycle import LastExit, Lifecycle, State
from app.process.supervisor import Supervisor

_NEEDS_A_PERSON = frozenset(
    kind.reason for kind in (HomeRefused, HomeUnwritable, DiskFull, LoginReadOnly, BinaryRefused)
)


def unready_reason(
    life: Lifecycle,
    last_exit: LastExit | None,
    *,
    is_ready: bool,
    is_draining: bool,
    lacks_login: bool,
    renewal: str | None = None,
) -> str | None:
    """Return in a word why no request would be served now; None if one would. `renewal` is why a child is spared."""
    if is_draining:
        return "draining"
    if is_ready:
        return "upstream_auth" if lacks_login else None
    if renewal is not None:
        return renewal
    if last_exit is not None and last_exit.reason in _NEEDS_A_PERSON:
        return last_exit.reason
    if life.is_degraded:
        return "degraded"
    return "backoff" if life.state is State.BACKING_OFF else "starting"


def health_of(
    supervisor: Supervisor,
    connection: Connection | None,
    login: Login,
    failures: UpstreamFailures,
    *,
    is_draining: bool,
    renewal: str | None,
) -> Health:
    """Return where the child is now. Does not block."""
    life, child = supervisor.lifecycle, supervisor.child
    reason = unready_reason(
        life,
        supervisor.last_exit,
        is_ready=supervisor.is_ready,
        is_draining=is_draining,
        lacks_login=login.is_lacking,
        renewal=renewal,
    )
    return Health(
        ready=reason is None,
        degraded=life.is_degraded,
        reason=reason,
        state=life.state.value,
        generation=connection.number if connection else 0,
        pid=child.pid if child else None,
        user_agent=connection.user_agent if connection else "",
        codex_version=connection.codex_version if connection else "",
        restarts=life.restarts,
        failures=life.failures,
        backoff_ms=life.backoff_ms,
        handshake_ms=supervisor.handshake_ms,
        last_exit=supervisor.last_exit,
        history=supervisor.history.moments,
        last_upstream_failure=failures.last,
        retiring=supervisor.retiring,
        kept=_kept(connection) if connection else NOTHING_KEPT,
        warm=len(connection.threads.warm) if connection else 0,
        counters=dict(connection.counters + connection.channel.counters) if connection else {},
    )


def _kept(connection: Connection) -> Kept:
    kept = connection.threads.kept
    return Kept(len(kept), kept.size, dict(kept.evicted))
