"""The one door to codex: starts turns, knows the models, swaps generations.

It decides who may start a turn and on which generation; it does not parse, render or retry.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.codex.account import AccountLimits
from app.codex.admission import Admission, Slot
from app.codex.config import UpstreamKind
from app.codex.generation import Generation
from app.codex.launch import Launcher
from app.codex.methods import Model, TurnRequest
from app.codex.turn import Turn
from app.codex.watch import UNWATCHED, Watch
from app.errors import Draining, GatewayError, UpstreamAuth, WorkerUnavailable
from app.process.child import Child
from app.process.lifecycle import BackoffPolicy
from app.process.supervisor import LastExit, Supervisor
from app.rpc.channel import ChannelClosed

log = logging.getLogger("codex_api.codex")


@dataclass(frozen=True, slots=True)
class Limits:
    """Milliseconds, and counts."""

    max_concurrency: int
    queue_max: int
    queue_timeout_ms: int
    rpc_timeout_ms: int
    startup_timeout_ms: int
    backoff_initial_ms: int
    backoff_max_ms: int


@dataclass(frozen=True, slots=True)
class Status:
    """A moment of the child, for the health routes. `reason` says why it is not ready."""

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
    running: int
    waiting: int
    counters: dict[str, int]


class Codex:
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
        self._version = version
        self._generation: Generation | None = None
        self._generations = 0
        self._draining = False
        self._stopped = False
        self.account = AccountLimits()
        self.admission = Admission(limits.max_concurrency, limits.queue_max)
        self.supervisor = Supervisor(
            "codex",
            BackoffPolicy(limits.backoff_initial_ms, limits.backoff_max_ms),
            prepare=launcher.prepare,
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

    def _attach(self, child: Child) -> Generation:
        self._generations += 1
        generation = Generation(
            self._generations,
            child,
            rpc_timeout_s=self._limits.rpc_timeout_ms / 1000,
            on_lost=self._lose,
            account=self.account,
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
        if self._generation is None:
            self._on_models(generation.models)
        self._generation = generation
        generation.ask_for_limits()
        return generation

    def _lose(self, generation: Generation) -> None:
        if generation is self._generation:
            # A child whose pipe is closed is of no use, even if its process lives on.
            self.supervisor.recycle("pipe_closed")

    def begin_drain(self) -> None:
        """Report not ready. What still arrives is served: gunicorn closes its listener a moment later."""
        self._draining = True

    def end_turns(self, error: GatewayError) -> None:
        """End every running turn with `error`, and start no more; clients get one error frame or answer."""
        self._stopped = True
        if self._generation is not None:
            self._generation.fail_turns(error)

    def stop(self) -> None:
        """Start no more turns and end the child. Blocks until it is gone."""
        self.begin_drain()
        self._stopped = True
        self.supervisor.stop()

    # Turns

    def start_turns(self, *requests: TurnRequest, watch: Watch = UNWATCHED) -> list[Turn]:
        """Wait for slots and a ready child, then begin a turn for each request: all or none, the caller closes them.

        Blocks. Raises `UpstreamAuth`, `WorkerBusy`, `WorkerUnavailable`, `Draining`, `InvalidRequest`.
        """
        self._check_login()
        deadline = time.monotonic() + self._limits.queue_timeout_ms / 1000
        with watch.waiting():
            slots = self.admission.acquire(self._limits.queue_timeout_ms / 1000, len(requests))
        return self._begin(requests, slots, deadline, watch)

    def replace_turn(self, turn: Turn, request: TurnRequest, watch: Watch = UNWATCHED) -> Turn:
        """Close `turn` and begin another on its slot. Blocks; raises what `start_turns` raises."""
        deadline = time.monotonic() + self._limits.queue_timeout_ms / 1000
        slot = turn.lease.take()
        turn.close()
        slots = self.admission.acquire(deadline - time.monotonic()) if slot is None else [slot]
        (new,) = self._begin((request,), slots, deadline, watch)
        return new

    def _begin(
        self, requests: Sequence[TurnRequest], slots: Sequence[Slot], deadline: float, watch: Watch
    ) -> list[Turn]:
        try:
            try:
                return self._ready_generation(deadline, watch).start_turns(requests, slots, watch)
            except ChannelClosed:
                # The child died under it before a word was said: the next one can do it.
                return self._ready_generation(deadline, watch).start_turns(requests, slots, watch)
        except BaseException:
            for slot in slots:
                slot.release()
            raise

    def _check_login(self) -> None:
        # codex itself would send the turn without a key.
        if self._lacks_login:
            raise UpstreamAuth(
                "This service is not logged in to OpenAI. Its operator has to run: "
                "flask --app wsgi codex login. Your key is fine."
            )

    def _ready_generation(self, deadline: float, watch: Watch = UNWATCHED) -> Generation:
        if self._stopped:
            raise Draining("This worker is shutting down; send the request again.")
        with watch.waiting():
            ready = self.supervisor.wait_ready(max(0.0, deadline - time.monotonic()))
        generation = self._generation
        if not ready or generation is None or generation.channel.is_closed:
            raise WorkerUnavailable(
                "The codex process is not running yet; try again shortly.",
                retry_after_s=max(1, round(self.supervisor.lifecycle.backoff_ms / 1000)),
            )
        return generation

    def models(self) -> tuple[Model, ...]:
        """Return the child's models, waiting for its handshake if need be. Raises `WorkerUnavailable`."""
        if self._generation is not None and self._generation.models:
            return self._generation.models
        deadline = time.monotonic() + self._limits.queue_timeout_ms / 1000
        return self._ready_generation(deadline).models

    def status(self) -> Status:
        """Return where the child is now. Does not block."""
        life, child = self.supervisor.lifecycle, self.supervisor.child
        generation = self._generation
        counters = dict(generation.counters + generation.channel.counters) if generation else {}
        return Status(
            ready=self._reason() is None,
            degraded=life.is_degraded,
            reason=self._reason(),
            state=life.state.value,
            generation=self._generations,
            pid=child.pid if child else None,
            user_agent=generation.user_agent if generation else "",
            restarts=life.restarts,
            failures=life.failures,
            backoff_ms=life.backoff_ms,
            handshake_ms=self.supervisor.handshake_ms,
            last_exit=self.supervisor.last_exit,
            running=self.admission.running,
            waiting=self.admission.waiting,
            counters=counters,
        )

    @property
    def _lacks_login(self) -> bool:
        return self.upstream is UpstreamKind.OPENAI and not self.launcher.home.auth_file.exists()

    def _reason(self) -> str | None:
        life = self.supervisor.lifecycle
        if self._draining:
            return "draining"
        if life.is_ready:
            return "upstream_auth" if self._lacks_login else None
        if life.is_degraded:
            return "degraded"
        return {"backing_off": "backoff", "stopped": "starting"}.get(life.state.value, "starting")

    def __repr__(self) -> str:
        return f"<Codex {self.supervisor!r} {self._generation!r} {self.admission!r}>"
