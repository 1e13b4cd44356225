"""Supervisor of one child process: starts it, restarts it after a backoff, replaces it without a gap, ends it.

One greenlet (`run`) owns the lifecycle; everybody else reads it or asks (`stop`, `restart`, `replace`). What a
handshake is, the supervisor does not know: `attach` is given the new child, blocks until it answers, and raises if it
does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import gevent
from gevent.event import Event
from gevent.pool import Group
from gevent.util import wrap_errors

from app.process.child import Child, ChildSpec, StartRefused, StopLadder, failed_start
from app.process.history import History
from app.process.lifecycle import (
    DEGRADED_AFTER,
    BackoffPolicy,
    LastExit,
    Lifecycle,
    Signal,
    State,
)
from app.process.session import ChildSession, SessionHandler

log = logging.getLogger("codex_api.process")

_SPARED_POLL_S = 0.1

REPLACE_PAUSE_S = 30.0
"""After a replacement that could not be started: how long no other is tried."""


class Supervisor:
    """Keeps one child alive. `prepare` returns what to start and may raise anything; `attach` performs the handshake.

    A child of which `is_spared` is true is ended by nothing but `stop`: it is left alone for as long as that holds.
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
        is_spared: Callable[[Child], bool] = lambda _: False,
    ) -> None:
        self.name = name
        self.lifecycle = Lifecycle(policy)
        self.last_exit: LastExit | None = None
        self.history = History()
        self.backoff_until: float | None = None
        self.handshake_ms: int | None = None
        self.on_restart: Callable[[], None] = lambda: None
        self.on_replaced: Callable[[str], None] = lambda _: None
        self._prepare = prepare
        self._attach = attach
        self._ladder = ladder or StopLadder()
        self._is_spared = is_spared
        self._session: ChildSession | None = None  # of the child that serves
        self._starting: Child | None = None  # in its handshake
        self._killed: Child | None = None  # by `restart`, and not reaped yet
        self._draining = Group()  # replaced children that finish what runs on them
        self._replacement = ""  # why one is wanted
        self._replace_not_before = 0.0
        self._stopping = Event()
        self._stopped = Event()
        self._wake = Event()  # the child exited, or something was asked for
        self._ready = Event()

    # Asked by others

    @property
    def child(self) -> Child | None:
        """The child that serves, or the one that is starting; not one that was replaced."""
        return self._session.child if self._session is not None else self._starting

    @property
    def retiring(self) -> int:
        """Number of replaced children that still finish."""
        return len(self._draining)

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
        self._abort_start()
        self._stopped.wait(self._ladder.total_s + 1)

    def restart(self, reason: str) -> None:
        """Kill the child; the exit is then handled like any other. Does not block; nothing to do while stopping."""
        if self._stopping.is_set():
            return
        self._ready.clear()  # `wait_ready` waits for the next one from now on
        child = self.child
        if child is not None and child is not self._killed and child.exit_code is None:
            self._killed = child
            if self._is_spared(child):
                log.warning("child_spared", extra={"child": self.name, "reason": reason})
                gevent.spawn(self._recycle, child, reason)
            else:
                self._recycle(child, reason)

    def _recycle(self, child: Child, reason: str) -> None:
        self.await_spared(child)
        if child.exit_code is None and not self._stopping.is_set():
            log.warning("child_recycled", extra={"child": self.name, "reason": reason})
            self.history.note("ended_by_us", child.pid, reason=reason)
            child.kill()

    def await_spared(self, child: Child) -> None:
        """Block for as long as the child lives and is spared, unless the supervisor stops."""
        while child.exit_code is None and self._is_spared(child) and not self._stopping.is_set():
            self._stopping.wait(_SPARED_POLL_S)

    def replace(self, reason: str, *, is_useless: bool = False) -> bool:
        """Ask for a new child that takes over without a gap; what runs on the old one may finish. Does not block.

        False where nothing serves, one retires (a useless child need not wait for it), or the last try has just failed.
        """
        is_possible = (
            self.lifecycle.is_ready
            and not self._stopping.is_set()
            and not self._replacement
            and (is_useless or not self._draining)
            and time.monotonic() >= self._replace_not_before
        )
        if is_possible:
            self._replacement = reason
            self._wake.set()
        return is_possible

    # Supervising, in the one greenlet

    def run(self) -> None:
        """Keep the child alive until `stop` is called. Blocks: this is the supervisor greenlet."""
        self._advance(Signal.START)
        try:
            while not self._stopping.is_set():
                ended = self._serve()
                if self._stopping.is_set():
                    break
                self._back_off(ended)
        finally:
            self._draining.join()
            self._finish()
            self._stopped.set()

    def _serve(self) -> LastExit:
        """Start a child and stay with it, and with each that replaces it, until one is gone; return how it ended."""
        self._replacement = ""
        began = time.monotonic()
        session = self._start()
        if isinstance(session, LastExit):
            return session
        self._session = session
        try:
            if not self._stopping.is_set():
                self._announce(session.child, Signal.HANDSHAKEN, began)
                self.history.note("ready", session.child.pid)
                while self._watch(session.child):
                    session = self._swap_in(session)
            reason = "stopped" if self._stopping.is_set() else "exited"
            return LastExit(self._end(session), reason)
        finally:
            self._session = None

    def _announce(self, child: Child, signal: Signal, began: float) -> None:
        self._advance(signal)
        self._ready.set()
        self.handshake_ms = round((time.monotonic() - began) * 1000)
        log.info(
            "child_ready",
            extra={
                "child": self.name,
                "pid": child.pid,
                "handshake_ms": self.handshake_ms,
                "restart_count": self.lifecycle.restarts,
                **child.notes,
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

    def _end(self, session: ChildSession) -> int | None:
        self._ready.clear()
        is_open = self.lifecycle.state in (State.STARTING, State.READY)
        if session.child.exit_code is None and is_open and self._stopping.is_set():
            self._advance(Signal.DRAIN)
        return session.end(self._ladder)

    # Starting a child

    def _start(self) -> ChildSession | LastExit:
        """Start a child and shake hands; return what went wrong if that fails. Blocks, raises nothing.

        Nothing is started once the supervisor stops.
        """
        try:
            spec = self._prepare_spec()
            if spec is None:
                return LastExit(None, "stopped")
            child = self._starting = Child(spec)
        # Whatever keeps a child from starting (a full disk, a broken binary) may pass: the supervisor outlives it.
        except Exception as error:
            reason = error.reason if isinstance(error, StartRefused) else "start_failed"
            log.exception("child_start_failed", extra={"child": self.name, "detail": str(error)})
            return LastExit(None, reason, str(error))
        log.info("child_started", extra={"child": self.name, "pid": child.pid})
        try:
            return ChildSession(child, self._attach(child))
        # A handshake can fail in any way a peer can be wrong; each is a failed start, none ends the supervisor.
        except Exception as error:
            log.exception("child_handshake_failed", extra={"child": self.name, "pid": child.pid})
            problem = str(error)
        finally:
            self._starting = None
        code = child.end(self._ladder)
        return LastExit(code, "handshake_failed", failed_start(problem, child.last_words))

    def _prepare_spec(self) -> ChildSpec | None:
        """Return what to start; None once the supervisor stops, however long the preparation would still take."""
        prepare: Callable[[], ChildSpec | Exception] = wrap_errors((Exception,), self._prepare)
        preparing = gevent.spawn(prepare)
        gevent.wait([preparing, self._stopping], count=1)  # type: ignore[type-var]  # both can be waited for
        preparing.kill()
        if self._stopping.is_set():
            return None
        result = preparing.value
        if isinstance(result, Exception):
            raise result
        return result

    def _abort_start(self) -> None:
        """Kill the child in its handshake, which waits by a deadline of its own and ends at once with the child."""
        if self._starting is not None:
            self._starting.kill()

    # Replacing a child

    def _swap_in(self, old: ChildSession) -> ChildSession:
        """Start the replacement beside the child that serves; return which of the two serves from now on."""
        reason = self._replacement
        fields = {"child": self.name, "reason": reason, "pid": old.child.pid}
        began = time.monotonic()
        new = self._start()
        self._replacement = ""  # only now: a request made meanwhile is met by this one
        if isinstance(new, LastExit):
            self._replace_not_before = time.monotonic() + REPLACE_PAUSE_S
            log.error("child_not_replaced", extra=fields | {"detail": new.detail or new.reason})
            return old
        self._session = new
        if not self._stopping.is_set():
            self._announce(new.child, Signal.REPLACED, began)
            log.info("child_replaced", extra=fields)
            self.history.note("replaced", new.child.pid, reason=reason)
            self.on_replaced(reason)
        self._draining.spawn(self._drain, old)
        return new

    def _drain(self, old: ChildSession) -> None:
        """Let a replaced child finish what runs on it, then end it. A supervisor that stops does not wait for that."""
        finishing = gevent.spawn(old.handler.retire)
        gevent.wait([finishing, self._stopping], count=1)  # type: ignore[type-var]  # both can be waited for
        finishing.kill()
        self.await_spared(old.child)
        pid, code = old.child.pid, old.end(self._ladder)
        log.info("child_retired", extra={"child": self.name, "pid": pid, "exit_code": code})
        self.history.note("retired", pid, exit_code=code)

    # Between two children

    def _back_off(self, ended: LastExit) -> None:
        self._ready.clear()
        self.last_exit = ended
        self._advance(Signal.EXITED)
        life = self.lifecycle
        log_failure(self.name, ended, life)
        self.history.note_exit(ended)
        self.backoff_until = time.monotonic() + life.backoff_ms / 1000
        stopped = self._stopping.wait(life.backoff_ms / 1000)
        self.backoff_until = None
        if not stopped:
            self._advance(Signal.BACKOFF_OVER)
            self.on_restart()

    def _finish(self) -> None:
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


def log_failure(child: str, ended: LastExit, life: Lifecycle) -> None:
    """Log why a child is gone, or did not come up. `life` is where that has led."""
    fields = {
        "child": child,
        "reason": ended.reason,
        "exit_code": ended.exit_code,
        "detail": ended.detail,
        "backoff_ms": life.backoff_ms,
        "failures": life.failures,
        "restart_count": life.restarts,
    }
    if life.failures == DEGRADED_AFTER:
        log.critical("child_degraded", extra=fields)
    else:
        log.error("child_exited", extra=fields)
