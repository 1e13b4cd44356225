"""From a specification to a child that has shaken hands."""

from __future__ import annotations

import logging
from collections.abc import Callable

import gevent
from gevent.event import AsyncResult, Event

from app.process.child import Child, ChildSpec, StopLadder
from app.process.living import ChildSession, LastExit, SessionHandler

log = logging.getLogger("codex_api.process")


class StartRefused(OSError):
    """A child cannot be started until a person has done something. `reason` is a word for it."""

    reason = "start_refused"


class Starter:
    """Starts children of one kind, one at a time. `newborn` is the one that is in its handshake."""

    def __init__(
        self,
        name: str,
        prepare: Callable[[], ChildSpec],
        attach: Callable[[Child], SessionHandler],
        ladder: StopLadder,
    ) -> None:
        self.newborn: Child | None = None
        self._name = name
        self._prepare = prepare
        self._attach = attach
        self._ladder = ladder

    def start(self, stopping: Event) -> ChildSession | LastExit:
        """Start a child and shake hands; return what went wrong if that fails. Blocks, raises nothing.

        Nothing is started once `stopping` is set.
        """
        try:
            spec = self._prepared(stopping)
            if spec is None:
                return LastExit(None, "stopped")
            child = self.newborn = Child(spec)
        # Whatever keeps a child from starting (a full disk, a broken binary) may pass: the supervisor outlives it.
        except Exception as error:
            reason = error.reason if isinstance(error, StartRefused) else "start_failed"
            log.exception("child_start_failed", extra={"child": self._name, "detail": str(error)})
            return LastExit(None, reason, str(error))
        log.info("child_started", extra={"child": self._name, "pid": child.pid})
        try:
            return ChildSession(child, self._attach(child))
        # A handshake can fail in any way a peer can be wrong; each is a failed start, none ends the supervisor.
        except Exception:
            log.exception("child_handshake_failed", extra={"child": self._name, "pid": child.pid})
        finally:
            self.newborn = None
        return LastExit(self._end(child), "handshake_failed")

    def _prepared(self, stopping: Event) -> ChildSpec | None:
        """Return what to start; None once `stopping` is set, however long the preparation would still take."""
        outcome: AsyncResult[ChildSpec] = AsyncResult()

        def prepare() -> None:
            try:
                outcome.set(self._prepare())
            # Handed over, not handled: the caller raises it in its own greenlet.
            except Exception as error:  # noqa: BLE001
                outcome.set_exception(error)

        preparing = gevent.spawn(prepare)
        gevent.wait([outcome, stopping], count=1)
        preparing.kill()
        return None if stopping.is_set() else outcome.get()

    def _end(self, child: Child) -> int | None:
        code = child.exit_code
        if code is None:
            code = child.stop(self._ladder)
        child.reap()
        child.close()
        return code

    def give_up(self) -> None:
        """Kill the newborn: its handshake waits by a deadline of its own, which a dead child ends now."""
        if self.newborn is not None:
            self.newborn.kill()
