"""Looks after one child while it lives: whether it answers, how large it is, whose login it has.

A child that hangs keeps its pipe open and says nothing, so it has to be asked. One that is merely busy is told apart
by what it says meanwhile: as long as bytes come, only a question that stays unanswered for long counts against it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import gevent
import psutil

from app.backends.app_server import protocol
from app.rpc.channel import ChannelClosed, RpcError, RpcTimeout

if TYPE_CHECKING:
    from app.backends.app_server.connection import Connection

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

    @property
    def is_fatal(self) -> bool:
        """True where the child is ended at once, with all that runs on it; else another one takes over."""
        return self in {HealthProblem.HUNG, HealthProblem.DEAF, HealthProblem.MEMORY_TWICE}


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """How often is looked, and what is too much. Seconds and bytes; `answer_s` is how long a busy child may take.

    A child younger than `settled_s` is not replaced for its size: a limit below what any child needs must not start an
    endless row of them.
    """

    interval_s: float
    silence_s: float
    answer_s: float
    memory_bytes: int
    settled_s: float = 60.0

    def weigh(self, resident: int | None, age_s: float) -> HealthProblem | None:
        """Return what the resident memory of a child of that age means; None for nothing, or where it is unknown."""
        if resident is None or resident <= self.memory_bytes:
            return None
        if resident > 2 * self.memory_bytes:
            return HealthProblem.MEMORY_TWICE
        return HealthProblem.MEMORY if age_s >= self.settled_s else None


def resident_bytes(pid: int) -> int | None:
    """Return how much memory a process holds; None where it is gone or the system does not say."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError):
        return None


class Watchdog:
    """One greenlet for each generation; it ends with it. `on_concern` must not block."""

    def __init__(
        self,
        generation: Connection,
        watchfulness: HealthLimits,
        on_concern: Callable[[Connection, HealthProblem], None],
        has_old_login: Callable[[Connection], bool] = lambda _: False,
    ) -> None:
        self._generation = generation
        self._watchfulness = watchfulness
        self._on_concern = on_concern
        self._has_old_login = has_old_login

    def run(self) -> None:
        """Look, until the child is gone or is to be ended. Blocks."""
        while True:
            gevent.sleep(self._watchfulness.interval_s)
            if self._generation.channel.is_closed:
                return
            concern = self._look()
            if concern is not None:
                self._on_concern(self._generation, concern)
                if concern.is_fatal:
                    return

    def _look(self) -> HealthProblem | None:
        concern = self._listen()
        if concern is None:
            age_s = time.monotonic() - self._generation.began
            concern = self._watchfulness.weigh(resident_bytes(self._generation.pid), age_s)
        if concern is None and self._has_old_login(self._generation):
            concern = HealthProblem.LOGIN
        return concern

    def _listen(self) -> HealthProblem | None:
        """Ask for a sign of life; None once there is one."""
        channel, times = self._generation.channel, self._watchfulness
        heard = channel.heard
        asking = gevent.spawn(self._ask)
        deadline = time.monotonic() + times.answer_s
        while True:
            asking.join(times.silence_s)
            if not asking.ready():
                asking.join(_CATCH_UP_S)
            if asking.ready() or channel.is_closed:
                return HealthProblem.DEAF if asking.value is False else None
            if channel.heard == heard:
                concern = HealthProblem.HUNG
            elif time.monotonic() >= deadline:
                concern = HealthProblem.DEAF
            else:
                heard = channel.heard
                continue
            asking.kill()
            return concern

    def _ask(self) -> bool:
        """Ask something cheap; True for any answer, False if none came in the longest time that one may take."""
        times = self._watchfulness
        try:
            self._generation.channel.call(
                "thread/loaded/list",
                protocol.loaded_list_params(),
                times.answer_s + times.silence_s,
                is_urgent=True,
            )
        except RpcTimeout:
            return False
        except (RpcError, ChannelClosed):
            return True
        return True
