"""Dialect of `codex app-server` for one turn: handshake, one thread, one turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from app.backend.lease import Lease
from app.backend.observer import TurnObserver
from app.backend.protocols import Turn
from app.backend.request import TurnRequest
from app.backends.app_server import connection
from app.backends.app_server.kept_threads import KeptLimits, KeptThreads
from app.backends.app_server.limits import Limits
from app.backends.app_server.watchdog import HealthLimits, HealthProblem, Watchdog
from app.backends.per_request.dialect import Surroundings
from app.codex.auth_file import LoginMark
from app.codex.binary import pinned_version
from app.codex.launch import Launcher, apart
from app.process.child import Child, ChildSpec


class AppServerDialect:
    """See `app.backends.per_request.dialect.Dialect`. `version` is the gateway's own, for the handshake."""

    def __init__(self, launcher: Launcher, limits: Limits, version: str) -> None:
        self.version = pinned_version()
        self._launcher = launcher
        self._rpc_timeout_s = limits.rpc_timeout_ms / 1000
        self._own_version = version

    def check(self, request: TurnRequest) -> None:
        """Refuse nothing."""

    def prepare(self) -> ChildSpec:
        """Return what starts have in common. Blocks while the binary prints its catalog."""
        return self._launcher.prepare()

    def apart(self, spec: ChildSpec, folder: Path) -> ChildSpec:
        """Return the start of one process, with databases of its own."""
        return apart(spec, folder)

    def connect(
        self, number: int, child: Child, login: LoginMark | None, shared: Surroundings
    ) -> OneTurnConnection:
        """Return the connection to a process that has just been started."""
        made = OneTurnConnection(
            number,
            child,
            rpc_timeout_s=self._rpc_timeout_s,
            on_lost=lambda _: None,  # its turn fails by itself, and whoever ends it finds it gone
            account=shared.account,
            login=login,
            on_event=shared.on_event,
        )
        made.version = self._own_version
        made.threads.histories = shared.histories
        made.threads.kept = KeptThreads(KeptLimits(count=0))
        return made


class OneTurnConnection(connection.Connection):
    """Connection to an app-server that has one turn. See `app.backends.per_request.dialect.Connection`."""

    version = ""

    @property
    def is_closed(self) -> bool:
        """True once the channel is closed."""
        return self.channel.is_closed

    @property
    def has_turn(self) -> bool:
        """True while a turn runs on it."""
        return len(self.threads) > 0

    @property
    def oddities(self) -> Counter[str]:
        """What was odd but survived."""
        return self.counters + self.channel.counters

    def handshake(self, timeout_s: float) -> None:
        """Say who we are, and ask for the models. Blocks; raises `RpcError`, `ProtocolError`."""
        self.shake_hands(self.version, timeout_s, lambda: None)

    def begin(
        self, request: TurnRequest, lease: Lease, new_observer: Callable[[], TurnObserver]
    ) -> Turn:
        """Begin the turn on a thread."""
        return self.threads.begin(request, lease, new_observer)

    def watch(
        self,
        limits: HealthLimits,
        on_problem: Callable[[HealthProblem], None],
        is_spared: Callable[[], bool],
    ) -> None:
        """Probe it until it is gone."""
        Watchdog(self, limits, on_problem, work=self.work, is_spared=is_spared).run()
