"""Ends of threads and their turns: asked for in the background, since no request waits for them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

import gevent
from gevent import Greenlet
from gevent.pool import Group

from app.backends.app_server.parse_events import ProtocolError, ThreadId, TurnId
from app.backends.app_server.thread import Thread
from app.backends.app_server.thread_calls import ThreadCalls
from app.backends.app_server.turn import Turn
from app.backends.app_server.warm_threads import WarmThread
from app.rpc.errors import CallRefused, CallTimeout, ChannelClosed, RpcError

log = logging.getLogger("codex_api.codex")

_PAUSES_S = (0.1,) * 20 + (1.0,) * 10
"""How long to wait for the end of a turn whose interrupt was refused, before each next try."""

_TRIES_UNANSWERED = 3
_TRIES_UNASKED = 5
"""How often a turn whose events nobody follows is interrupted before codex is asked whether it runs at all."""

SLOT_GRACE_S = 0.05
"""How long an interrupted turn keeps its slot. codex stops at once, and then sometimes waits 100 ms before it says so;
a client that comes next should not wait for that. A refused interrupt keeps the slot: then the turn really runs on."""


class ThreadEnds:
    """See the module. `counters` counts what went wrong."""

    def __init__(self, calls: ThreadCalls, greenlets: Group, counters: Counter[str]) -> None:
        self._calls = calls
        self._greenlets = greenlets
        self._counters = counters
        self._unloading: set[ThreadId] = set()

    def is_unloading(self, thread_id: ThreadId) -> bool:
        """Return True for a thread without a turn of ours: what codex still says of it is no news."""
        return thread_id in self._unloading

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
        slot_grace = gevent.spawn_later(SLOT_GRACE_S, turn.lease.turn_finished)
        try:
            if self._is_ended(turn, turn_id, slot_grace):
                return
        finally:
            slot_grace.kill(block=False)
        self._counters["interrupt_failed"] += 1
        log.error("turn_not_interrupted", extra={"thread_id": turn.thread_id})

    def _is_ended(self, turn: Turn, turn_id: TurnId, slot_grace: Greenlet[..., None]) -> bool:
        """Ask until the turn is over: an early request is refused while the turn runs on.

        One that was accepted is not repeated: codex accepts it when the turn is over. One that came as the turn ended
        by itself is never answered.
        """
        unanswered = 0
        for pause_s in _PAUSES_S:
            try:
                self._calls.interrupt(turn.thread_id, turn_id, turn.observer.called)
            except CallRefused:
                self._counters["interrupt_refused"] += 1
                slot_grace.kill(block=False)
                if turn.is_end_lost or turn.ended.wait(pause_s):
                    return True
            except CallTimeout:
                turn.lease.turn_finished()  # to ask again needs no slot
                unanswered += 1
                if turn.ended.is_set() or unanswered == _TRIES_UNANSWERED:
                    break
            else:
                return turn.ended.wait(self._calls.timeout_s)
        return turn.ended.is_set()

    def roll_back(self, thread_id: ThreadId, turn_id: TurnId | None = None) -> None:
        """End what began for nobody: after its deadline, or with items that codex has refused. Does not block."""
        self._counters["began_too_late"] += 1
        self._greenlets.spawn(self._roll_back, thread_id, turn_id)

    def _roll_back(self, thread_id: ThreadId, turn_id: TurnId | None) -> None:
        self._unloading.add(thread_id)
        if turn_id is not None:
            self._interrupt_unseen(thread_id, turn_id)
        self._unload(thread_id, None)

    def _interrupt_unseen(self, thread_id: ThreadId, turn_id: TurnId) -> None:
        with suppress(RpcError, ProtocolError):
            for tries, pause_s in enumerate(_PAUSES_S, 1):
                try:
                    self._calls.interrupt(thread_id, turn_id)
                except CallRefused:  # it is over, or too early to be interrupted
                    if tries >= _TRIES_UNASKED and not self._calls.is_active(thread_id):
                        return
                    gevent.sleep(pause_s)
                else:
                    return

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
        self._unloading.add(thread_id)
        if turn_id is not None:
            with suppress(RpcError):  # refused: it is over
                self._calls.interrupt(thread_id, turn_id)
        with suppress(RpcError):
            self._calls.unload(thread_id)
        self._unloading.discard(thread_id)
