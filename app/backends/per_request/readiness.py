"""Readiness: whether a process could be started lately, and the backoff after one that could not.

The table is that of a supervised child (`app.process.lifecycle`): READY means that the last start that tells has shaken
hands. The end of a process that was serving says nothing about that.
"""

from __future__ import annotations

import logging
import time

from gevent.event import Event

from app.backends.app_server.status import unready_reason
from app.process.history import History
from app.process.lifecycle import (
    BackoffPolicy,
    LastExit,
    Lifecycle,
    Signal,
    State,
)
from app.process.supervisor import log_failure

log = logging.getLogger("codex_api.codex")

_STARTED = frozenset({State.STARTING, State.READY, State.BACKING_OFF})


class Readiness:
    """See the module."""

    def __init__(self, policy: BackoffPolicy) -> None:
        self.lifecycle = Lifecycle(policy)
        self.last_exit: LastExit | None = None
        self.history = History()
        self.backoff_until: float | None = None
        self.handshake_ms: int | None = None
        self._ready, self._stopping = Event(), Event()

    @property
    def is_stopped(self) -> bool:
        """True once no more turns are begun."""
        return self._stopping.is_set()

    @property
    def is_backing_off(self) -> bool:
        """True after a start that failed, until the next may be tried."""
        return self.lifecycle.state is State.BACKING_OFF

    def unready_reason(
        self, *, is_draining: bool, lacks_login: bool, renewal: str | None
    ) -> str | None:
        """Return in a word why no request would be served now; None if one would."""
        return unready_reason(
            self.lifecycle,
            self.last_exit,
            is_ready=self.lifecycle.is_ready,
            is_draining=is_draining,
            lacks_login=lacks_login,
            renewal=renewal,
        )

    def wait(self, timeout_s: float) -> bool:
        """Block until a process has shaken hands, or the time is up; True if one has."""
        return bool(self._ready.wait(timeout_s)) and self.lifecycle.is_ready

    def start(self) -> None:
        """Note that starts begin."""
        self._advance(Signal.START)

    def succeeded(self, handshake_ms: int, pid: int, codex_version: str) -> None:
        """Note that a probe has shaken hands."""
        self.handshake_ms = handshake_ms
        if self.lifecycle.state is not State.STARTING:
            return
        self._advance(Signal.HANDSHAKEN)
        self._ready.set()
        self.history.note("ready", pid)
        log.info(
            "child_ready",
            extra={
                "child": "codex",
                "pid": pid,
                "handshake_ms": handshake_ms,
                "restart_count": self.lifecycle.restarts,
                "codex_version": codex_version,
            },
        )

    def failed(self, why: LastExit) -> bool:
        """Note that a start has failed; True if that is news: of many that fail at once, the first one tells all."""
        if self.lifecycle.state not in {State.STARTING, State.READY}:
            return False
        self._ready.clear()
        self.last_exit = why
        self._advance(Signal.EXITED)
        life = self.lifecycle
        self.backoff_until = time.monotonic() + life.backoff_ms / 1000
        log_failure("codex", why, life)
        self.history.note_exit(why)
        return True

    def await_backoff(self) -> bool:
        """Block until the next start may be tried; False where there will be none."""
        until = self.backoff_until or 0.0
        self._stopping.wait(max(0.0, until - time.monotonic()))
        is_over = self._stopping.is_set()  # `wait` tells of its time, if both ends come at once
        self.backoff_until = None
        if not is_over:
            self._advance(Signal.BACKOFF_OVER)
        return not is_over

    def stop(self) -> None:
        """Note that no more turns are begun. Idempotent."""
        if self.lifecycle.state in _STARTED:
            self._advance(Signal.DRAIN)
        self._stopping.set()
        self._ready.set()  # whoever waits for it learns that it will not be

    def finish(self) -> None:
        """Note that every process is gone."""
        if self.lifecycle.state is State.DRAINING:
            self._advance(Signal.EXITED)
        log.info("child_stopped", extra={"child": "codex"})

    def _advance(self, signal: Signal) -> None:
        self.lifecycle = self.lifecycle.advance(signal, time.monotonic())

    def __repr__(self) -> str:
        return f"<Readiness {self.lifecycle.state.name}>"
