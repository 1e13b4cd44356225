"""Lifecycle of a supervised child as a table, with its backoff and its restart budget. Pure.

Two rules. Everything that decides the state is in this file; this file knows no clock, no process and no greenlet:
`now` is an argument, in seconds of any monotonic clock.

READY is reached by a handshake, not by a spawn: a process that exists is not yet a process that answers. A child that
takes the place of another without a gap has shaken hands before, so READY goes on. Every exit that nobody asked for is
a failure. The n-th failure in a row waits `initial * 2^(n-1)`, at most `maximum`. The count starts again at zero only
after the child was READY for `stable_s`: a child that shakes hands and dies at once is still in a crash loop. At
`DEGRADED_AFTER` failures in a row the lifecycle says `degraded` and goes on trying.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

DEGRADED_AFTER = 5
"""Consecutive failures after which operators are told (founding document, Lifecycle)."""


class State(Enum):
    """State of the child."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing_off"
    DRAINING = "draining"


class Signal(Enum):
    """Event in the life of the child."""

    START = "start"
    HANDSHAKEN = "handshaken"
    REPLACED = "replaced"
    EXITED = "exited"
    BACKOFF_OVER = "backoff_over"
    DRAIN = "drain"


TRANSITIONS: MappingProxyType[tuple[State, Signal], State] = MappingProxyType(
    {
        (State.STOPPED, Signal.START): State.STARTING,
        (State.STARTING, Signal.HANDSHAKEN): State.READY,
        (State.STARTING, Signal.EXITED): State.BACKING_OFF,
        (State.STARTING, Signal.DRAIN): State.DRAINING,
        (State.READY, Signal.REPLACED): State.READY,
        (State.READY, Signal.EXITED): State.BACKING_OFF,
        (State.READY, Signal.DRAIN): State.DRAINING,
        (State.BACKING_OFF, Signal.BACKOFF_OVER): State.STARTING,
        (State.BACKING_OFF, Signal.DRAIN): State.STOPPED,
        (State.DRAINING, Signal.EXITED): State.STOPPED,
    }
)


class IllegalTransitionError(Exception):
    """The signal has no row for the state. The lifecycle is unchanged."""


@dataclass(frozen=True, slots=True)
class LastExit:
    """End of the previous child: a word for it and, where a start failed, the system's own sentence for operators."""

    exit_code: int | None
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. `at` is Unix time in seconds; `reason` is a word, `detail` a sentence for operators.

    `what` is `ready` (it has shaken hands), `replaced` (the same, and another one retires: the reason says why),
    `ended_by_us` (the reason says why), `exited` (also a start that failed), or `retired`.
    """

    at: float
    what: str
    pid: int | None = None
    reason: str | None = None
    exit_code: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Pause between attempts, and the time that counts as stable. Milliseconds, and seconds for `stable_s`."""

    initial_ms: int
    maximum_ms: int
    stable_s: float = 30.0

    def delay_ms(self, failures: int) -> int:
        """Return the wait after the given number of failures in a row (at least one)."""
        # The exponent is capped so that a crash loop of months does not build a huge integer.
        return min(self.initial_ms << min(failures - 1, 20), self.maximum_ms)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """State of a lifecycle at one moment. `advance` returns the next one."""

    policy: BackoffPolicy
    state: State = State.STOPPED
    failures: int = 0
    restarts: int = 0
    backoff_ms: int = 0
    ready_since: float | None = None

    @property
    def is_ready(self) -> bool:
        """True when the handshake is done and no backoff window is open."""
        return self.state is State.READY

    @property
    def is_degraded(self) -> bool:
        """True from the fifth failure in a row until the next handshake."""
        trying = self.state in {State.STARTING, State.BACKING_OFF}
        return trying and self.failures >= DEGRADED_AFTER

    def advance(self, signal: Signal, now: float) -> Lifecycle:
        """Return the lifecycle after `signal`; raise `IllegalTransitionError` if the table has no such row."""
        target = TRANSITIONS.get((self.state, signal))
        if target is None:
            raise IllegalTransitionError(f"{signal.value} is not possible in {self.state.value}")
        if target is State.BACKING_OFF:
            return self._failed(now)
        if target is State.READY:
            return replace(self, state=target, ready_since=now, backoff_ms=0)
        if signal is Signal.BACKOFF_OVER:
            return replace(self, state=target, restarts=self.restarts + 1, backoff_ms=0)
        return replace(self, state=target, backoff_ms=0, ready_since=None)

    def _failed(self, now: float) -> Lifecycle:
        stable = self.ready_since is not None and now - self.ready_since >= self.policy.stable_s
        failures = 1 if stable else self.failures + 1
        return replace(
            self,
            state=State.BACKING_OFF,
            failures=failures,
            backoff_ms=self.policy.delay_ms(failures),
            ready_since=None,
        )
