"""The one door to codex: starts turns, knows the models, swaps generations.

It decides who may start a turn and on which generation; it does not parse, render or retry.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from weakref import WeakSet

from gevent.event import Event

from app.backend.admission import ANONYMOUS, Admission, Slot, SlotRequest
from app.backend.observer import NULL_OBSERVER, RequestObserver
from app.backend.request import Model, TurnRequest
from app.backend.retry_after import seconds_until
from app.backends.app_server.connection import Connection
from app.backends.app_server.limits import Limits
from app.backends.app_server.parse_events import ProtocolError
from app.backends.app_server.status import Status, look
from app.backends.app_server.turn import Turn
from app.backends.app_server.watchdog import HealthProblem, Watchdog
from app.codex.account import AccountLimits
from app.codex.config import UpstreamKind
from app.codex.home import LoginMark
from app.codex.launch import Launcher
from app.codex.login import Login
from app.errors import Draining, GatewayError, UpstreamError, WorkerUnavailable
from app.process.child import Child, ChildSpec
from app.process.lifecycle import BackoffPolicy
from app.process.supervisor import Supervisor
from app.rpc.channel import ChannelClosed

log = logging.getLogger("codex_api.codex")

_NEXT_S = 0.25
"""How long is waited for the next generation before it is asked for once more."""


class AppServerBackend:
    """One child, kept alive, and the turns on it. `on_models` is told once what the first child offers."""

    def __init__(
        self,
        launcher: Launcher,
        limits: Limits,
        version: str,
        on_models: Callable[[tuple[Model, ...]], None] = lambda _: None,
    ) -> None:
        self.launcher = launcher
        self._on_models = on_models
        self._limits = limits
        self._queue_s = limits.queue_timeout_ms / 1000
        self._version = version
        self.generation: Connection | None = None
        """The one that new turns begin on."""
        self._generations = 0
        self.is_draining = False
        self._stopped = False
        self.account = AccountLimits()
        self._alive: WeakSet[Connection] = WeakSet()  # those that retire, too
        self.login = Login(launcher.home, launcher.upstream.kind)
        self._mark: LoginMark | None = None  # of the login that the next child starts with
        self._next = Event()  # set, and a new one made, when the next generation serves
        self.admission = Admission(limits.max_concurrency, limits.queue_max)
        self.supervisor = Supervisor(
            "codex",
            BackoffPolicy(limits.backoff_initial_ms, limits.backoff_max_ms),
            prepare=self._prepare,
            attach=self._attach,
        )

    @property
    def upstream(self) -> UpstreamKind:
        """Who answers in the end."""
        return self.launcher.upstream.kind

    # Life

    def run(self) -> None:
        """Keep the child alive until `stop`. Blocks: the supervisor greenlet."""
        self.supervisor.run()

    def _prepare(self) -> ChildSpec:
        self._mark = self.login.mark  # before the child reads it
        return self.launcher.prepare()

    def _attach(self, child: Child) -> Connection:
        self._generations += 1
        generation = Connection(
            self._generations,
            child,
            rpc_timeout_s=self._limits.rpc_timeout_ms / 1000,
            on_lost=self._lose,
            account=self.account,
            login=self._mark,
        )
        try:
            generation.shake_hands(
                self._version,
                self._limits.startup_timeout_ms / 1000,
                self.launcher.home.silence_log_database,
            )
        except BaseException:
            child.kill()
            generation.detach()
            raise
        if self.generation is None:
            self._on_models(generation.models)
        self._alive.add(generation)
        watchdog = Watchdog(
            generation,
            self._limits.watchfulness,
            self._worry,
            has_old_login=lambda it: it.login != self.login.mark,
        )
        generation.accompany(watchdog.run)
        generation.accompany(generation.ask_for_limits)
        self.generation = generation
        awaited, self._next = self._next, Event()
        awaited.set()
        return generation

    def _worry(self, generation: Connection, concern: HealthProblem) -> None:
        if not concern.is_fatal:
            if generation is self.generation:  # one that retires goes anyway
                self.supervisor.replace(concern.value)
        elif generation is self.generation:
            self.supervisor.recycle(concern.value)
        else:
            fields = {"child": "codex", "pid": generation.pid, "reason": concern.value}
            log.warning("retired_child_killed", extra=fields)
            generation.kill()

    def _lose(self, generation: Connection) -> None:
        if generation is self.generation:
            # A child whose pipe is closed is of no use, even if its process lives on.
            self.supervisor.recycle("pipe_closed")

    def begin_drain(self) -> None:
        """Report not ready. What still arrives is served: gunicorn closes its listener a moment later."""
        self.is_draining = True

    def end_turns(self, error: GatewayError) -> None:
        """End every running turn with `error`, and start no more; clients get one error frame or answer."""
        self._stopped = True
        for generation in list(self._alive):
            generation.fail_turns(error)

    def stop(self) -> None:
        """Start no more turns and end the child. Blocks until it is gone."""
        self.begin_drain()
        self._stopped = True
        self.supervisor.stop()

    # Turns

    def start_turns(
        self,
        *requests: TurnRequest,
        watch: RequestObserver = NULL_OBSERVER,
        claim: SlotRequest = ANONYMOUS,
    ) -> list[Turn]:
        """Wait for slots and a ready child, then begin a turn for each request: all or none, the caller closes them.

        Blocks. Raises `UpstreamAuth`, `WorkerBusy`, `WorkerUnavailable`, `Draining`, `InvalidRequest`.
        """
        self.login.check()
        deadline = claim.deadline(self._queue_s)
        with watch.waiting():
            slots = self.admission.acquire(self._queue_s, len(requests), claim)
        return self._begin(requests, slots, deadline, watch)

    def replace_turn(
        self,
        turn: Turn,
        request: TurnRequest,
        watch: RequestObserver = NULL_OBSERVER,
        claim: SlotRequest = ANONYMOUS,
    ) -> Turn:
        """Close `turn` and begin another on its slot. Blocks; raises what `start_turns` raises."""
        deadline = claim.deadline(self._queue_s)
        slot = turn.lease.take()
        turn.close()
        slots = [slot] if slot else self.admission.acquire(self._queue_s, claim=claim)
        (new,) = self._begin((request,), slots, deadline, watch)
        return new

    def _begin(
        self,
        requests: Sequence[TurnRequest],
        slots: Sequence[Slot],
        deadline: float,
        watch: RequestObserver,
    ) -> list[Turn]:
        try:
            try:
                return self._ready_generation(deadline, watch).start_turns(requests, slots, watch)
            except ChannelClosed:
                # The child died under it before a word was said: the next one can do it.
                return self._ready_generation(deadline, watch).start_turns(requests, slots, watch)
        except ProtocolError as error:
            self._give_back(slots)
            raise UpstreamError(
                "The codex process answered in a way that this gateway does not know."
            ) from error
        except BaseException:
            self._give_back(slots)
            raise

    def _give_back(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            slot.release()

    def _ready_generation(
        self, deadline: float, watch: RequestObserver = NULL_OBSERVER
    ) -> Connection:
        if self._stopped:
            raise Draining("This worker is shutting down; send the request again.")
        with watch.waiting():
            while self.supervisor.wait_ready(max(0.0, deadline - time.monotonic())):
                generation = self.generation
                if generation is None or generation.channel.is_closed:
                    break
                if generation.login is not None or self.login.mark is None:
                    return generation
                # It was started before anybody had logged in, and would send turns without a key.
                self.supervisor.replace(HealthProblem.LOGIN.value, is_useless=True)
                self._next.wait(_NEXT_S)
                if time.monotonic() >= deadline:
                    break
        raise WorkerUnavailable(
            "The codex process is not running yet; try again shortly.",
            retry_after_s=seconds_until(self.supervisor.backoff_until, time.monotonic()),
        )

    def models(self) -> tuple[Model, ...]:
        """Return the child's models, waiting for its handshake if need be. Raises `WorkerUnavailable`."""
        if self.generation is not None and self.generation.models:
            return self.generation.models
        deadline = ANONYMOUS.deadline(self._queue_s)
        return self._ready_generation(deadline).models

    def status(self) -> Status:
        """Return where the child is now. Does not block."""
        return look(
            self.supervisor,
            self.generation,
            self.admission,
            self.login,
            is_draining=self.is_draining,
        )

    def __repr__(self) -> str:
        return f"<AppServerBackend {self.supervisor!r} {self.generation!r} {self.admission!r}>"
