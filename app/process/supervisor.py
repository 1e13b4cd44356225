"""Keeps one child alive: starts it, waits for its handshake, starts it again after a backoff, ends it on drain.

One greenlet (`run`) owns the lifecycle; everybody else reads it or asks (`stop`, `recycle`). What a handshake is, the
supervisor does not know: `attach` is given the new child, blocks until it answers, and raises if it does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import gevent
from gevent.event import Event

from app.process.child import Child, ChildSpec, StopLadder
from app.process.lifecycle import DEGRADED_AFTER, BackoffPolicy, Lifecycle, Signal, State

log = logging.getLogger("codex_api.process")


class Attachment(Protocol):
    """What `attach` returns: the conversation with one child."""

    def detach(self) -> None:
        """The child is gone: fail whoever still waits. Must not block for long, must not raise."""


@dataclass(frozen=True, slots=True)
class LastExit:
    """How the previous child ended: a word, and for a start that failed the system's own sentence, for operators."""

    exit_code: int | None
    reason: str
    detail: str = ""


class Supervisor:
    """See the module. `prepare` returns what to start and may raise anything; `attach` performs the handshake."""

    def __init__(
        self,
        name: str,
        policy: BackoffPolicy,
        *,
        prepare: Callable[[], ChildSpec],
        attach: Callable[[Child], Attachment],
        ladder: StopLadder | None = None,
    ) -> None:
        self.name = name
        self.lifecycle = Lifecycle(policy)
        self.last_exit: LastExit | None = None
        self.child: Child | None = None
        self.backoff_until: float | None = None
        self.handshake_ms: int | None = None
        self.on_restart: Callable[[], None] = lambda: None
        self._prepare = prepare
        self._attach = attach
        self._ladder = ladder or StopLadder()
        self._stopping = Event()
        self._stopped = Event()
        self._wake = Event()  # the child exited, or a stop was asked for
        self._ready = Event()

    def run(self) -> None:
        """Keep the child alive until `stop` is called. Blocks: this is the supervisor greenlet."""
        self._advance(Signal.START)
        try:
            while not self._stopping.is_set():
                ended = self._live_once()
                if self._stopping.is_set():
                    break
                self._back_off(ended)
        finally:
            self._settle()
            self._stopped.set()

    def wait_ready(self, timeout_s: float) -> bool:
        """Block until the child is ready or the time is up; True if it is."""
        return bool(self._ready.wait(timeout_s)) and self.lifecycle.is_ready

    def stop(self) -> None:
        """End the child by the ladder and wait for it. Blocks; idempotent; the supervisor cannot be run again."""
        self._stopping.set()
        self._wake.set()
        self._ready.clear()
        if self.lifecycle.state is State.STOPPED:
            return
        if self.lifecycle.state is State.STARTING and self.child is not None:
            # The handshake waits by its own deadline, which may be longer than ours: a dead child ends it now.
            self.child.kill()
        budget = self._ladder.eof_s + self._ladder.term_s + self._ladder.kill_s + 1
        self._stopped.wait(budget)

    def recycle(self, reason: str) -> None:
        """Kill the child; the exit is then handled like any other. Does not block; nothing to do while stopping."""
        if self._stopping.is_set():
            return
        self._ready.clear()  # whoever asks from now on waits for the next one
        if self.child is not None and self.child.exit_code is None:
            log.warning("child_recycled", extra={"child": self.name, "reason": reason})
            self.child.kill()

    # One child, from birth to death

    def _live_once(self) -> LastExit:
        """Start a child and stay with it until it is gone; return how it ended."""
        started = time.monotonic()
        try:
            spec = self._prepare()
            if self._stopping.is_set():
                return LastExit(None, "stopped")
            child = self.child = Child(spec)
        # Whatever keeps a child from starting (a full disk, a broken binary) may pass: the supervisor outlives it.
        except Exception as error:
            log.exception("child_start_failed", extra={"child": self.name, "detail": str(error)})
            return LastExit(None, "start_failed", str(error))
        attachment: Attachment | None = None
        try:
            log.info("child_started", extra={"child": self.name, "pid": child.pid})
            attachment = self._shake_hands(child)
            if attachment is None:
                return LastExit(self._end(child), "handshake_failed")
            if not self._stopping.is_set():
                self._announce(child, started)
                self._watch(child)
            asked = self._stopping.is_set()
            return LastExit(self._end(child), "stopped" if asked else "exited")
        finally:
            self.child = None
            if attachment is not None:
                attachment.detach()
            child.close()

    def _shake_hands(self, child: Child) -> Attachment | None:
        try:
            return self._attach(child)
        # A handshake can fail in any way a peer can be wrong; each is a failed start, none ends the supervisor.
        except Exception:
            log.exception("child_handshake_failed", extra={"child": self.name, "pid": child.pid})
            return None

    def _announce(self, child: Child, started: float) -> None:
        self._advance(Signal.HANDSHAKEN)
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

    def _watch(self, child: Child) -> None:
        """Block until the child exits or a stop is asked for."""
        exited = gevent.spawn(child.wait)
        exited.link(lambda _: self._wake.set())
        if not self._stopping.is_set():
            self._wake.wait()
        self._wake.clear()
        exited.kill()

    def _end(self, child: Child) -> int | None:
        self._ready.clear()
        if child.exit_code is None:
            if self.lifecycle.state in (State.STARTING, State.READY) and self._stopping.is_set():
                self._advance(Signal.DRAIN)
            return child.stop(self._ladder)
        child.reap()
        return child.exit_code

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
