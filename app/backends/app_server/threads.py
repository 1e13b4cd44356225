"""Threads of one child: begun for a turn, unloaded after it. No other module knows the life of a thread.

Today every turn gets a fresh thread: `thread/start`, `thread/inject_items` with the whole history, `turn/start` without
input (ADR-0007). A request always carries its whole conversation, so a thread that is lost costs time and never truth.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, cast

import gevent
from gevent import Greenlet
from gevent.event import Event
from gevent.pool import Group
from gevent.util import wrap_errors

from app.backend.events import NO_USAGE, ResponseCompleted, Usage, UsageUpdated
from app.backend.lease import Lease
from app.backend.observer import NULL_OBSERVER, TurnObserver
from app.backend.request import TurnRequest
from app.backends.app_server import protocol
from app.backends.app_server.parse_events import Addressed, ProtocolError, ThreadId, TurnId
from app.backends.app_server.turn import Turn
from app.errors import GatewayError
from app.rpc.channel import Channel, LateResultHandler, ignore_late_result
from app.rpc.errors import CallRefused, CallTimeout, ChannelClosed, RpcError

log = logging.getLogger("codex_api.codex")

T = TypeVar("T")

_ATTEMPTS = 20
_PAUSE_S = 0.1
SLOT_GRACE_S = 0.05
"""How long an interrupted turn keeps its slot. codex stops at once, and then sometimes waits 100 ms before it says so;
a client that comes next should not wait for that. A refused interrupt keeps the slot: then the turn really runs on."""


@dataclass(slots=True)
class Thread:
    """One thread and the turn on it. `spent` is what the thread had cost before that turn."""

    turn: Turn
    spent: Usage = NO_USAGE
    counters: Counter[str] = field(default_factory=Counter)

    def deliver(self, addressed: Addressed) -> None:
        """Give the turn an event. codex reports a thread's running total: the turn's usage is how much it grew."""
        event = addressed.event
        if isinstance(event, UsageUpdated):
            event = UsageUpdated(self._bounded(event.usage - self.spent))
            addressed = Addressed(addressed.thread_id, addressed.turn_id, event)
        elif isinstance(event, ResponseCompleted) and event.usage is not None:
            event = ResponseCompleted(self._bounded(event.usage))
            addressed = Addressed(addressed.thread_id, addressed.turn_id, event)
        self.turn.deliver(addressed)

    def _bounded(self, usage: Usage) -> Usage:
        """Return figures that can be true, and count those that were not: codex passes on what the upstream says."""
        bounded = usage.bounded()
        if bounded is not usage:
            self.counters["impossible_usage"] += 1
        return bounded


class Threads:
    """The threads that one child has loaded. Greenlets of `cleanup` end them; no lock: nothing yields while it changes.

    `generation` numbers the child, for the facts of its turns.
    """

    def __init__(
        self, channel: Channel, generation: int, rpc_timeout_s: float, counters: Counter[str]
    ) -> None:
        self.cleanup = Group()
        self._channel = channel
        self._generation = generation
        self._rpc_timeout_s = rpc_timeout_s
        self._counters = counters
        self._threads: dict[ThreadId, Thread] = {}
        self._ends, self._asks = self._finish, self._still_runs  # one object for all turns
        self._idle = Event()
        self.begun = 0
        """How many turns were begun."""

    def __len__(self) -> int:
        return len(self._threads)

    def get(self, thread_id: ThreadId) -> Thread | None:
        """Return a thread that is loaded."""
        return self._threads.get(thread_id)

    def turns(self) -> list[Turn]:
        """Return the turns that were begun and not given back yet."""
        return [thread.turn for thread in self._threads.values()]

    # Beginning

    def begin(
        self, request: TurnRequest, lease: Lease, observer: TurnObserver = NULL_OBSERVER
    ) -> Turn:
        """Start a thread, give it the whole history, begin the turn. Blocks for three RPCs.

        `lease` is the turn's once there is one; on failure it has been emptied, not given back. Raises `RpcError`,
        `ProtocolError`. A caller that is cut short leaves nothing behind: what was begun is ended.
        """
        return run_shielded(self.cleanup, partial(self._begin, request, lease, observer), _cancel)

    def _begin(self, request: TurnRequest, lease: Lease, observer: TurnObserver) -> Turn:
        # A slow child may do it after the deadline all the same: hence `_roll_back`.
        started = self._call(
            "thread/start",
            protocol.thread_start_params(request),
            observer,
            lambda late: self._roll_back(protocol.parse_thread_id(late)),
        )
        thread_id = protocol.parse_thread_id(started)
        turn = Turn(
            thread_id,
            self._generation,
            self._ends,
            has_tools=bool(request.tools),
            observer=observer,
            lease=lease,
            still_runs=self._asks,
        )
        self.begun += 1
        # Before turn/start: the first event may overtake its answer.
        self._threads[thread_id] = Thread(turn, counters=self._counters)
        try:
            items = protocol.inject_items_params(thread_id, request)
            self._call("thread/inject_items", items, observer)
            accepted = self._call(
                "turn/start",
                protocol.turn_start_params(thread_id, request),
                observer,
                lambda late: self._roll_back(thread_id, protocol.parse_turn_id(late)),
            )
            turn.begin(protocol.parse_turn_id(accepted))
        except BaseException:
            _cancel(turn)
            raise
        return turn

    # Ending: in the background, since no request waits for it

    def _finish(self, turn: Turn) -> None:
        if turn.ended.is_set():
            turn.lease.turn_finished()
        if turn.is_end_lost:
            self._counters["turn_end_lost"] += 1
            log.warning("turn_end_lost", extra={"thread_id": turn.thread_id})
        self.cleanup.spawn(self._end, turn)

    def _end(self, turn: Turn) -> None:
        try:
            if turn.turn_id is not None and not turn.ended.is_set():
                self._interrupt(turn, turn.turn_id)
            turn.lease.turn_finished()
            unloading = protocol.unsubscribe_params(turn.thread_id)
            self._call("thread/unsubscribe", unloading, turn.observer)
        except ChannelClosed:
            pass  # the thread went with its child
        except (RpcError, ProtocolError):
            self._counters["end_turn_failed"] += 1
            log.warning("turn_not_ended", extra={"thread_id": turn.thread_id}, exc_info=True)
        finally:
            turn.lease.turn_finished()
            self._forget(turn)
            turn.observer.closed(turn.facts)

    def _forget(self, turn: Turn) -> None:
        self._threads.pop(turn.thread_id, None)
        if not self._threads:
            self._idle.set()

    def _interrupt(self, turn: Turn, turn_id: TurnId) -> None:
        """Ask until codex says that the turn is over: an early request is refused while the turn runs on."""
        params = protocol.interrupt_params(turn.thread_id, turn_id)
        slot_grace = gevent.spawn_later(SLOT_GRACE_S, turn.lease.turn_finished)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    self._call("turn/interrupt", params, turn.observer)
                except CallRefused:
                    self._counters["interrupt_refused"] += 1
                    slot_grace.kill(block=False)
                    if turn.is_end_lost:
                        return
                except CallTimeout:
                    break  # asking again would only keep the slot; the thread is still given back
                if turn.ended.wait(_PAUSE_S):
                    return
        finally:
            slot_grace.kill(block=False)
        self._counters["interrupt_failed"] += 1
        log.error("turn_not_interrupted", extra={"thread_id": turn.thread_id})

    def _still_runs(self, turn: Turn) -> bool:
        """Ask codex whether a turn goes on. Blocks; where it gives no answer, the turn does not."""
        params = protocol.read_params(turn.thread_id)
        try:
            return protocol.is_active(self._call("thread/read", params, turn.observer))
        except (RpcError, ProtocolError):
            return False

    def _roll_back(self, thread_id: ThreadId, turn_id: TurnId | None = None) -> None:
        """End what began after its deadline; does not block."""
        self._counters["began_too_late"] += 1
        self.cleanup.spawn(self._unload, thread_id, turn_id)

    def _unload(self, thread_id: ThreadId, turn_id: TurnId | None) -> None:
        if turn_id is not None:
            with suppress(RpcError):  # refused: it is over
                self._call("turn/interrupt", protocol.interrupt_params(thread_id, turn_id))
        with suppress(RpcError):
            self._call("thread/unsubscribe", protocol.unsubscribe_params(thread_id))

    # All of them

    def fail_turns(self, error: GatewayError, *, has_ended: bool = False) -> None:
        """End every open turn from our side; `has_ended` if nothing of it runs in the child any more."""
        for turn in self.turns():
            if has_ended:
                turn.ended.set()
            turn.fail(error)

    def wait_idle(self) -> None:
        """Block until no turn is left, or the channel is closed."""
        while self._threads and not self._channel.is_closed:
            self._idle.clear()
            self._idle.wait()

    def release_waiters(self) -> None:
        """Let `wait_idle` return."""
        self._idle.set()

    def _call(
        self,
        method: str,
        params: object,
        observer: TurnObserver = NULL_OBSERVER,
        late: LateResultHandler = ignore_late_result,
    ) -> object:
        return self._channel.call(
            method, params, self._rpc_timeout_s, observer.called, on_late=late
        )


def _cancel(turn: Turn) -> None:
    """End a turn whose caller is gone; its slot is the caller's to give back."""
    turn.lease.transfer()
    turn.close()


def run_shielded(group: Group, work: Callable[[], T], undo: Callable[[T], None]) -> T:
    """Run `work` in a greenlet of `group` and return its result, or raise what it raises. Blocks.

    A call to the child cannot be taken back: what it was about to begin comes into being all the same. If the caller is
    cut short, the work goes on, and `undo` is called with what comes of it; it must not block.
    """
    shielded: Callable[[], T | BaseException] = wrap_errors((BaseException,), work)
    working = group.spawn(shielded)

    def take_back(done: Greenlet[[], T | BaseException]) -> None:
        if not isinstance(done.value, BaseException):
            undo(cast("T", done.value))

    try:
        result = working.get()
    except BaseException:
        working.rawlink(take_back)
        raise
    if isinstance(result, BaseException):
        raise result
    return result
