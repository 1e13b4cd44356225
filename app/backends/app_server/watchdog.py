"""Health probe of one child: whether it answers, how large it is, whose login it has, what it does when idle.

A child that hangs keeps its pipe open and says nothing, so it has to be asked. A busy one is told apart by what it
says meanwhile: as long as bytes come, only a question that stays unanswered for long counts against it. And by what it
does: one that works at a heavy call, or waits for a processor that others have, is silent for a reason, for a while.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import gevent

from app.backends.app_server import protocol
from app.backends.app_server.idle_work import IdleWork, Work
from app.process.memory import resident_bytes
from app.rpc.channel import Channel
from app.rpc.errors import CallTimeout, RpcError

log = logging.getLogger("codex_api.codex")

_CATCH_UP_S = 0.25
"""After a quiet time: how long our own reader gets to find what has come. The worker may be the one that hung."""


class HealthProblem(Enum):
    """Why a child should not go on. The value is what operators read."""

    HUNG = "hung"
    DEAF = "deaf"
    MEMORY = "memory"
    MEMORY_TWICE = "memory_twice"
    LOGIN = "login"
    MODELS = "models"
    RUNAWAY = "runaway"
    CERTIFICATES = "certificates"

    @property
    def is_fatal(self) -> bool:
        """True where the child is ended at once, with all that runs on it; else another one takes over."""
        return self in {HealthProblem.HUNG, HealthProblem.DEAF, HealthProblem.MEMORY_TWICE}


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Interval of the probe and its limits, in seconds and bytes.

    `silence_s` is how long a child may say nothing at all, `answer_s` how long one may take that says something else,
    `busy_s` how long one that is seen to be busy. A child younger than `settled_s` is not replaced for its size: a
    limit below what any child needs must not start an endless row of them.
    """

    interval_s: float
    silence_s: float
    answer_s: float
    memory_bytes: int
    settled_s: float = 60.0
    busy_s: float = 60.0

    def is_nearly_full(self, resident: int | None) -> bool:
        """Return True where the child has three quarters of its memory."""
        return resident is not None and resident > self.memory_bytes // 4 * 3

    def check_memory(self, resident: int | None, age_s: float) -> HealthProblem | None:
        """Return what the resident memory of a child of that age means; None for nothing, or where it is unknown."""
        if resident is None or resident <= self.memory_bytes:
            return None
        if resident > 2 * self.memory_bytes:
            return HealthProblem.MEMORY_TWICE
        return HealthProblem.MEMORY if age_s >= self.settled_s else None


class Probed(Protocol):
    """The child that is probed. `began` is in monotonic seconds."""

    pid: int
    began: float
    channel: Channel


class Watchdog:
    """Probe of one child, in a greenlet that ends with it. `on_problem` must not block.

    One that is spared now (it may be renewing its login) is not ended, so the probe goes on. `give_up_kept` gives up
    what the child holds for later requests and returns how much that was; it must not block.
    """

    def __init__(
        self,
        child: Probed,
        limits: HealthLimits,
        on_problem: Callable[[HealthProblem], None],
        has_old_login: Callable[[], bool] = lambda: False,
        work: Callable[[], Work] = Work,
        is_spared: Callable[[], bool] = lambda: False,
        give_up_kept: Callable[[], int] = lambda: 0,
    ) -> None:
        self._child = child
        self._limits = limits
        self._on_problem = on_problem
        self._has_old_login = has_old_login
        self._work = work
        self._idle_work = IdleWork()
        self._is_spared = is_spared
        self._give_up_kept = give_up_kept

    def run(self) -> None:
        """Probe the child until it is gone or has to be ended. Blocks."""
        while True:
            gevent.sleep(self._limits.interval_s)
            if self._child.channel.is_closed:
                return
            problem = self._check()
            if problem is not None:
                self._on_problem(problem)
                if problem.is_fatal and not self._is_spared():
                    return

    def _check(self) -> HealthProblem | None:
        problem = self._probe()
        if problem is None:
            problem = self._check_memory()
        if problem is None and self._has_old_login():
            problem = HealthProblem.LOGIN
        is_runaway = self._idle_work.is_runaway(self._work(), time.monotonic())
        return HealthProblem.RUNAWAY if problem is None and is_runaway else problem

    def _check_memory(self) -> HealthProblem | None:
        """Give up what is only kept before the child is judged by its size."""
        resident = resident_bytes(self._child.pid)
        if self._limits.is_nearly_full(resident) and self._give_up_kept():
            return None  # what that has brought is seen the next time
        return self._limits.check_memory(resident, time.monotonic() - self._child.began)

    def _probe(self) -> HealthProblem | None:
        """Ask for a sign of life; None once there is one."""
        channel, times = self._child.channel, self._limits
        began = looked_at = time.monotonic()
        received, work = channel.received_bytes, self._work()
        asking = gevent.spawn(self._ask)
        while True:
            asking.join(times.silence_s)
            if not asking.ready():
                asking.join(_CATCH_UP_S)
            if asking.ready() or channel.is_closed:
                return HealthProblem.DEAF if asking.value is False else None
            now, was_heard, before = time.monotonic(), channel.received_bytes != received, work
            received, work = channel.received_bytes, self._work()
            is_busy = work.is_silent_for_a_reason(before, now - looked_at)
            looked_at = now
            patience_s = times.busy_s if is_busy else times.answer_s if was_heard else 0.0
            if now - began >= patience_s:
                asking.kill()
                return HealthProblem.DEAF if was_heard else HealthProblem.HUNG
            if is_busy:
                log.info("child_busy", extra={"pid": self._child.pid})

    def _ask(self) -> bool:
        """Ask something cheap; True for any answer, False if none came in the longest time that one may take."""
        times = self._limits
        try:
            self._child.channel.call(
                "thread/loaded/list",
                protocol.loaded_list_params(),
                max(times.answer_s, times.busy_s) + times.silence_s,
                is_urgent=True,
            )
        except CallTimeout:
            return False
        except RpcError:
            return True
        return True
