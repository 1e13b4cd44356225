"""A supervisor over small programs, with knobs: what it starts, what its handshake does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import gevent
from gevent.event import Event

from app.process.child import Child, ChildSpec, StopLadder
from app.process.lifecycle import BackoffPolicy, State
from app.process.supervisor import Supervisor
from tests.fakes import children
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, in_background, is_known, result

FAST = BackoffPolicy(initial_ms=10, maximum_ms=40)
FOREVER = BackoffPolicy(initial_ms=600_000, maximum_ms=600_000)
SHORT_S = 0.05


class Conversation:
    """What the handshake leaves: reads the child to its end, counts its leave-takings."""

    def __init__(self, child: Child, detached: Counter[int], is_busy: Event) -> None:
        self._pid = child.pid
        self._detached = detached
        self._reading = gevent.spawn(children.read_to_end, child.socket)
        self._is_busy = is_busy

    def retire(self) -> None:
        eventually(lambda: not self._is_busy.is_set())

    def detach(self) -> None:
        self._detached[self._pid] += 1
        self._reading.join(DEADLINE_S)
        self._reading.kill()


class SupervisedProcess:
    """A supervisor with knobs: what it starts, what its handshake does."""

    def __init__(self, folder: Path, policy: BackoffPolicy) -> None:
        self.program = children.POLITE
        self.start_error: Exception | None = None
        self.handshake: Callable[[Child], None] = lambda _: None
        self.born: list[int] = []
        self.detached: Counter[int] = Counter()
        self.is_busy = Event()  # what is replaced goes on until this is cleared
        self._folder = folder
        self.supervisor = Supervisor(
            "fake",
            policy,
            prepare=self._prepare,
            attach=self._attach,
            ladder=StopLadder(DEADLINE_S, DEADLINE_S, DEADLINE_S),
        )
        self.running: gevent.Greenlet[..., object] | None = None

    def _prepare(self) -> ChildSpec:
        if self.start_error is not None:
            raise self.start_error
        return children.spec(self.program, self._folder)

    def _attach(self, child: Child) -> Conversation:
        self.born.append(child.pid)
        children.read_line(child)
        self.handshake(child)
        return Conversation(child, self.detached, self.is_busy)

    def run(self) -> Supervisor:
        self.running = in_background(self.supervisor.run)
        return self.supervisor

    def run_until_ready(self) -> Supervisor:
        self.run()
        assert self.supervisor.wait_ready(DEADLINE_S)
        return self.supervisor

    def end(self) -> None:
        with deadline():
            self.supervisor.stop()
        if self.running is not None:
            assert result(self.running) is None
        assert self.supervisor.lifecycle.state is State.STOPPED
        assert self.supervisor.child is None
        assert [pid for pid in self.born if is_known(pid)] == []

    @property
    def pid(self) -> int:
        assert self.supervisor.child is not None
        return self.supervisor.child.pid


Make = Callable[..., SupervisedProcess]
