"""Keeps one child alive: starts it, waits for its handshake, starts it again after a backoff, ends it on drain.

One greenlet (`run`) owns the lifecycle; everybody else reads it or asks (`stop`, `recycle`, `replace`). What a
handshake is, the supervisor does not know: `attach` is given the new child, blocks until it answers, and raises if it
does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import gevent
from gevent.event import Event

from app.process.child import Child, ChildSpec, StopLadder
from app.process.lifecycle import DEGRADED_AFTER, BackoffPolicy, Lifecycle, Signal, State
from app.process.living import ChildSession, LastExit, SessionHandler
from app.process.retirement import Retirement
from app.process.starter import Starter

log = logging.getLogger("codex_api.process")

REPLACE_PAUSE_S = 30.0
"""After a replacement that could not be started: how long no other is tried."""


class Supervisor:
    """See the module. `prepare` returns what to start and may raise anything; `attach` performs the handshake.

    `on_restart` is called at each start after a failure, `on_replaced` with the reason after each replacement.
    """

    def __init__(
        self,
        name: str,
        policy: BackoffPolicy,
        *,
        prepare: Callable[[], ChildSpec],
        attach: Callable[[Child], SessionHandler],
        ladder: StopLadder | None = None,
    ) -> None:
        self.name = name
        self.lifecycle = Lifecycle(policy)
        self.last_exit: LastExit | None = None
        self.backoff_until: float | None = None
        self.handshake_ms: int | None = None
        self.on_restart: Callable[[], None] = lambda: None
        self.on_replaced: Callable[[str], None] = lambda _: None
        self._ladder = ladder or StopLadder()
        self._starter = Starter(name, prepare, attach, self._ladder)
        self._living: ChildSession | None = None
        self._condemned: Child | None = None  # was killed, and is not reaped yet
        self._replacement = ""  # why one is wanted
        self._replace_not_before = 0.0
        self._stopping = Event()
        self._retired = Retirement(name, self._ladder, self._stopping)
        self._stopped = Event()
        self._wake = Event()  # the child exited, or something was asked for
        self._ready = Event()

    @property
    def child(self) -> Child | None:
        """The child that serves, or the one that is starting; not one that retires."""
        return self._living.child if self._living is not None else self._starter.newborn

    @property
    def retiring(self) -> int:
        """How many replaced children still finish."""
        return len(self._retired)

    def run(self) -> None:
        """Keep the child alive until `stop` is called. Blocks: this is the supervisor greenlet."""
        self._advance(Signal.START)
        try:
            while not self._stopping.is_set():
                ended = self._live()
                if self._stopping.is_set():
                    break
                self._back_off(ended)
        finally:
            self._retired.join()
            self._settle()
            self._stopped.set()

    # What others may ask

    @property
    def is_ready(self) -> bool:
        """True if a child serves now; not while another one has yet to take the place of one that has died."""
        return self.lifecycle.is_ready and self._ready.is_set()

    def wait_ready(self, timeout_s: float) -> bool:
        """Block until the child is ready or the time is up; True if it is."""
        return bool(self._ready.wait(timeout_s)) and self.is_ready

    def stop(self) -> None:
        """End the child by the ladder and wait for it. Blocks; idempotent; the supervisor cannot be run again."""
        self._stopping.set()
        self._wake.set()
        self._ready.clear()
        if self.lifecycle.state is State.STOPPED:
            return
        self._starter.give_up()
        self._stopped.wait(self._ladder.total_s + 1)

    def recycle(self, reason: str) -> None:
        """Kill the child; the exit is then handled like any other. Does not block; nothing to do while stopping."""
        if self._stopping.is_set():
            return
        self._ready.clear()  # whoever asks from now on waits for the next one
        child = self.child
        if child is not None and child is not self._condemned and child.exit_code is None:
            self._condemned = child
            log.warning("child_recycled", extra={"child": self.name, "reason": reason})
            child.kill()

    def replace(self, reason: str, *, is_useless: bool = False) -> bool:
        """Ask for a new child that takes over without a gap; what runs on the old one may finish. Does not block.

        False where nothing serves, one retires (a useless child need not wait for it), or the last try has just failed.
        """
        is_possible = (
            self.lifecycle.is_ready
            and not self._stopping.is_set()
            and not self._replacement
            and (is_useless or not self._retired)
            and time.monotonic() >= self._replace_not_before
        )
        if is_possible:
            self._replacement = reason
            self._wake.set()
        return is_possible

    # From one failure to the next

    def _live(self) -> LastExit:
        """Start a child and stay with it, and with each that takes its place, until one is gone; say how it ended."""
        self._replacement = ""
        started = time.monotonic()
        living = self._starter.start(self._stopping)
        if isinstance(living, LastExit):
            return living
        self._living = living
        try:
            if not self._stopping.is_set():
                self._announce(living.child, Signal.HANDSHAKEN, started)
                while self._watch(living.child):
                    living = self._succeed(living)
            asked = self._stopping.is_set()
            return LastExit(self._end(living), "stopped" if asked else "exited")
        finally:
            self._living = None

    def _announce(self, child: Child, signal: Signal, started: float) -> None:
        self._advance(signal)
        self._ready.set()
        self.handshake_ms = round((time.monotonic() - started) * 1000)
        log.info(
            "child_ready",
            extra={
                "child": self.name,
                "pid": child.pid,
                "handshake_ms": self.handshake_ms,
                "restart_count": self.lifecycle.restarts,
            },
        )

    def _watch(self, child: Child) -> bool:
        """Block until the child exits or something is asked for; True if that is a replacement."""
        exited = gevent.spawn(child.wait)
        exited.link(lambda _: self._wake.set())
        while child.exit_code is None and not (self._stopping.is_set() or self._replacement):
            self._wake.wait()
            self._wake.clear()
        exited.kill()
        return bool(self._replacement) and child.exit_code is None and not self._stopping.is_set()

    def _end(self, living: ChildSession) -> int | None:
        self._ready.clear()
        is_open = self.lifecycle.state in (State.STARTING, State.READY)
        if living.child.exit_code is None and is_open and self._stopping.is_set():
            self._advance(Signal.DRAIN)
        return living.end(self._ladder)

    # A child that takes the place of another

    def _succeed(self, old: ChildSession) -> ChildSession:
        """Start the replacement beside the child that serves; return which of the two serves from now on."""
        reason = self._replacement
        fields = {"child": self.name, "reason": reason, "pid": old.child.pid}
        started = time.monotonic()
        new = self._starter.start(self._stopping)
        self._replacement = ""  # only now: whoever asked meanwhile wanted this one
        if isinstance(new, LastExit):
            self._replace_not_before = time.monotonic() + REPLACE_PAUSE_S
            log.error("child_not_replaced", extra=fields | {"detail": new.detail or new.reason})
            return old
        self._living = new
        if not self._stopping.is_set():
            self._announce(new.child, Signal.REPLACED, started)
            log.info("child_replaced", extra=fields)
            self.on_replaced(reason)
        self._retired.begin(old)
        return new

    # Between two children

    def _back_off(self, ended: LastExit) -> None:
        self._ready.clear()
        self.last_exit = ended
        self._advance(Signal.EXITED)
        life = self.lifecycle
        fields = {
            "child": self.name,
            "reason": ended.reason,
            "exit_code": ended.exit_code,
            "backoff_ms": life.backoff_ms,
            "failures": life.failures,
            "restart_count": life.restarts,
        }
        if life.failures == DEGRADED_AFTER:
            log.critical("child_degraded", extra=fields)
        else:
            log.error("child_exited", extra=fields)
        self.backoff_until = time.monotonic() + life.backoff_ms / 1000
        stopped = self._stopping.wait(life.backoff_ms / 1000)
        self.backoff_until = None
        if not stopped:
            self._advance(Signal.BACKOFF_OVER)
            self.on_restart()

    def _settle(self) -> None:
        """Bring the lifecycle to STOPPED from wherever the stop found it."""
        if self.lifecycle.state in (State.STARTING, State.READY, State.BACKING_OFF):
            self._advance(Signal.DRAIN)
        if self.lifecycle.state is State.DRAINING:
            self._advance(Signal.EXITED)
        log.info("child_stopped", extra={"child": self.name})

    def _advance(self, signal: Signal) -> None:
        self.lifecycle = self.lifecycle.advance(signal, time.monotonic())

    def __repr__(self) -> str:
        return f"<Supervisor {self.name} {self.lifecycle.state.name} child={self.child!r}>"
