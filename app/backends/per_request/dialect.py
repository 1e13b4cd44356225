"""Dialect of a codex process: how one is started and spoken to, which the pool around it need not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.backend.account import AccountLimits
from app.backend.events import Event
from app.backend.lease import Lease
from app.backend.observer import TurnObserver
from app.backend.protocols import Turn
from app.backend.request import Model, TurnRequest
from app.backends.app_server.watchdog import HealthLimits, HealthProblem
from app.budget import SharedBudget
from app.codex.auth_file import LoginMark
from app.errors import GatewayError
from app.process.child import Child, ChildSpec


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the connections of all processes share. `on_event` is given every event of a turn, and must not block."""

    account: AccountLimits
    histories: SharedBudget
    on_event: Callable[[Event], None]


class Connection(Protocol):
    """One process, spoken to, from its handshake to its one turn's end. `login` is what it was started with."""

    login: LoginMark | None
    is_renewing: bool
    user_agent: str
    models: tuple[Model, ...]

    @property
    def codex_version(self) -> str:
        """The process's version."""

    @property
    def is_closed(self) -> bool:
        """True once nothing can be said to it any more."""

    @property
    def has_turn(self) -> bool:
        """True while a turn runs on it."""

    @property
    def oddities(self) -> Counter[str]:
        """What was odd but survived."""

    def handshake(self, timeout_s: float) -> None:
        """Wait until a turn can be begun. Blocks; raises `RpcError`, `ProtocolError`."""

    def has_login(self) -> bool:
        """True unless it says that it has no login. Blocks; raises `RpcError`."""

    def renew_login(self) -> None:
        """Let it renew its login. Blocks as long as that takes; raises `RpcError`."""

    def begin(
        self, request: TurnRequest, lease: Lease, new_observer: Callable[[], TurnObserver]
    ) -> Turn:
        """Begin the turn. Blocks; raises `RpcError`, `ProtocolError`, `GatewayError`."""

    def watch(
        self,
        limits: HealthLimits,
        on_problem: Callable[[HealthProblem], None],
        is_spared: Callable[[], bool],
    ) -> None:
        """Tell of problems until it is gone. Blocks."""

    def spawn_background(self, task: Callable[[], None]) -> None:
        """Run a task in a greenlet for as long as this connection lives."""

    def fail_turns(self, error: GatewayError) -> None:
        """End its turn from our side."""

    def retire(self) -> None:
        """Block until nothing runs on it, or it is gone."""

    def detach(self) -> None:
        """The process is gone: end what belongs to it."""


class Dialect(Protocol):
    """How processes are started and spoken to.

    `version` is the one that was tested. A login that is due is renewed in the start of a process, at the latest in its
    handshake, and whoever starts it holds the lock for that.
    """

    version: str

    def check(self, request: TurnRequest) -> None:
        """Raise `InvalidRequest` for what no process of this dialect can be asked."""

    def prepare(self) -> ChildSpec:
        """Return what starts have in common. Raises `OSError`, `ValueError`, `SubprocessError`; blocks."""

    def apart(self, spec: ChildSpec, folder: Path) -> ChildSpec:
        """Return the start of one process, whose folder is its own. May block; raises `OSError`, `SubprocessError`."""

    def connect(
        self, number: int, child: Child, login: LoginMark | None, shared: Surroundings
    ) -> Connection:
        """Return the connection to a process that has just been started."""
