"""Ends of threads and their turns: asked for in the background, since no request waits for them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import Enum, auto

import gevent
from gevent.event import Event as Flag
from gevent.pool import Group

from app.backends.app_server.parse_events import ProtocolError, ThreadId, TurnId
from app.backends.app_server.thread import Thread
from app.backends.app_server.thread_calls import ThreadCalls
from app.backends.app_server.turn import Turn
from app.backends.app_server.warm_threads import WarmThread
from app.rpc.calls import CallObserver, ignore_call
from app.rpc.errors import CallRefused, CallTimeout, ChannelClosed, RpcError

log = logging.getLogger("codex_api.codex")

_PAUSES_S = (0.1,) * 20 + (1.0,) * 10
"""How long to wait for the end of a turn whose interrupt was refused, before each next try."""

_TRIES_UNANSWERED = 3

SLOT_GRACE_S = 0.05
"""How long an interrupted turn keeps its slot. codex stops at once, and then sometimes waits 100 ms before it says so;
a client that comes next should not wait for that."""

_SLOT_GRACE_REFUSED_S = 2.0
"""The same where codex has refused the interrupt: then the turn really runs on, or its end was lost."""


class _Reply(Enum):
    """What codex says to an interrupt."""

    ACCEPTED = auto()
    REFUSED = auto()
    NONE = auto()


class ThreadEnds:
    """See the module. `counters` counts what went wrong."""

    def __init__(self, calls: ThreadCalls, greenlets: Group, counters: Counter[str]) -> None:
        self._calls = calls
        self._greenlets = greenlets
        self._counters = counters
        self._unloading: dict[ThreadId, Flag] = {}

    def is_unloading(self, thread_id: ThreadId) -> bool:
        """Return True for a thread without a turn of ours: what codex still says of it is no news."""
        return thread_id in self._unloading

    def note_end(self, thread_id: ThreadId) -> None:
        """Note that a turn has ended on a thread that is being unloaded."""
        if over := self._unloading.get(thread_id):
            over.set()

    def end(self, turn: Turn) -> None:
        """Interrupt a turn that still runs, give its slot back, unload its thread. Blocks, cannot fail."""
        try:
            if turn.turn_id is not None and not turn.ended.is_set():
                self._interrupt(turn, turn.turn_id)
            turn.lease.turn_finished()
            self._calls.unload(turn.thread_id, turn.observer.called)
        except ChannelClosed:
            pass  # the thread went with its child
        except (RpcError, ProtocolError):
            self._counters["end_turn_failed"] += 1
            log.warning("turn_not_ended", extra={"thread_id": turn.thread_id}, exc_info=True)
        finally:
            turn.lease.turn_finished()

    def _interrupt(self, turn: Turn, turn_id: TurnId) -> None:
        give_back = turn.lease.turn_finished
        slot_grace = gevent.spawn_later(SLOT_GRACE_S, give_back)
        was_refused = False
        try:
            for reply in self._tries(turn.thread_id, turn_id, turn.ended, turn.observer.called):
                if reply is _Reply.ACCEPTED:
                    turn.ended.wait(self._calls.timeout_s)
                elif reply is _Reply.NONE:
                    give_back()  # to ask again needs no slot
                else:
                    self._counters["interrupt_refused"] += 1
                    if turn.is_end_lost:
                        return
                    if not was_refused:
                        was_refused = True
                        slot_grace.kill(block=False)
                        slot_grace = gevent.spawn_later(_SLOT_GRACE_REFUSED_S, give_back)
        finally:
            slot_grace.kill(block=False)
        if not turn.ended.is_set() and self._may_run(turn):
            self._counters["interrupt_failed"] += 1
            log.error("turn_not_interrupted", extra={"thread_id": turn.thread_id})

    def _tries(
        self, thread_id: ThreadId, turn_id: TurnId, over: Flag, observer: CallObserver = ignore_call
    ) -> Iterator[_Reply]:
        """Interrupt a turn until it is over; yields what codex replied to each try after which it may not be.

        An early interrupt is refused while the turn runs on. One that was accepted is not repeated: codex accepts it
        when the turn is over. One that came as the turn ended by itself is never answered.
        """
        unanswered = 0
        for pause_s in _PAUSES_S:
            is_last = unanswered == _TRIES_UNANSWERED - 1
            try:
                self._calls.interrupt(thread_id, turn_id, observer, is_patient=is_last)
                reply = _Reply.ACCEPTED
            except CallRefused:
                reply = _Reply.REFUSED
            except CallTimeout:
                reply = _Reply.NONE
                unanswered += 1
            if over.is_set():
                return
            yield reply
            if reply is _Reply.ACCEPTED or unanswered == _TRIES_UNANSWERED:
                return
            if reply is _Reply.REFUSED and over.wait(pause_s):
                return

    def _may_run(self, turn: Turn) -> bool:
        """Ask codex whether a turn goes on. Blocks; True where it gives no answer."""
        try:
            return self._calls.is_active(turn.thread_id, turn.observer.called)
        except ChannelClosed:
            raise
        except (RpcError, ProtocolError):
            return True

    def roll_back(self, thread_id: ThreadId, turn_id: TurnId | None = None) -> None:
        """End what began for nobody: after its deadline, or with items that codex has refused. Does not block."""
        self._counters["began_too_late"] += 1
        self._greenlets.spawn(self._roll_back, thread_id, turn_id)

    def _roll_back(self, thread_id: ThreadId, turn_id: TurnId | None) -> None:
        over = self._unloading[thread_id] = Flag()
        if turn_id is not None:
            with suppress(RpcError):
                for _ in self._tries(thread_id, turn_id, over):
                    pass  # refused: it is about to begin
        self._unload(thread_id, None)

    def unload(self, threads: Iterable[Thread]) -> None:
        """Unload threads that were kept, one after the other. Does not block."""
        if gone := list(threads):
            self._greenlets.spawn(self._unload_all, gone)

    def unload_warm(self, threads: Iterable[WarmThread]) -> None:
        """Unload threads that were warm and never had a turn. Does not block."""
        for thread in threads:
            self._greenlets.spawn(self._unload, thread.take(), None)

    def _unload_all(self, threads: list[Thread]) -> None:
        for thread in threads:
            turn = thread.turn
            self._unload(turn.thread_id, None if turn.ended.is_set() else turn.turn_id)
            turn.ended.set()

    def _unload(self, thread_id: ThreadId, turn_id: TurnId | None) -> None:
        over = self._unloading[thread_id] = Flag()
        with suppress(RpcError):
            if turn_id is not None:
                for reply in self._tries(thread_id, turn_id, over):
                    if reply is _Reply.REFUSED:
                        break  # it has waited for results, and is over
        with suppress(RpcError):
            self._calls.unload(thread_id)
        if self._unloading.get(thread_id) is over:  # it may be unloaded twice at once
            del self._unloading[thread_id]
