"""Threads of one child: begun for a turn, unloaded after it. No other module knows the life of a thread.

Today every turn gets a fresh thread: `thread/start`, `thread/inject_items` with the history in pieces, `turn/start`
without input (ADR-0007, ADR-0050). A request always carries its whole conversation, so a thread that is lost costs time
and never truth.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, cast

import gevent
import orjson
from gevent import Greenlet
from gevent.event import Event
from gevent.pool import Group
from gevent.util import wrap_errors

from app.backend.events import NO_USAGE, RawItem, ResponseCompleted, Usage, UsageUpdated
from app.backend.lease import Lease
from app.backend.observer import NULL_OBSERVER, TurnObserver
from app.backend.request import TurnRequest
from app.backends.app_server import protocol
from app.backends.app_server.heavy_calls import ANSWER_S, HeavyCalls
from app.backends.app_server.history import Load, Piece, history_budget, in_pieces
from app.backends.app_server.parse_events import Addressed, ProtocolError, ThreadId, TurnId
from app.backends.app_server.turn import Turn
from app.budget import Reservation
from app.errors import GatewayError, RequestSuspected, WorkerLost
from app.rpc.channel import (
    CallObserver,
    CallReport,
    Channel,
    LateResultHandler,
    ignore_call,
    ignore_late_result,
)
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
    """One thread and the turn on it. `is_suspect`: see `Load`; `held` is what is set aside for it.

    `spent` is what the thread had cost before that turn. It is False that the turn `is_asked` for while the thread is
    given its history.
    """

    turn: Turn
    spent: Usage = NO_USAGE
    counters: Counter[str] = field(default_factory=Counter)
    is_suspect: bool = False
    held: Reservation | None = None
    is_asked: bool = True

    def deliver(self, addressed: Addressed) -> None:
        """Give the turn an event. codex reports a thread's running total: the turn's usage is how much it grew."""
        event = addressed.event
        if not self.is_asked and isinstance(event, RawItem):
            return  # the child repeats the history that it is given
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
        self.histories = history_budget()
        """Budget of the bytes that children hold for their threads: the same for all children of a worker."""
        self.heavy = HeavyCalls()
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
        """Start a thread, give it the whole history, begin the turn. Blocks for three RPCs or more.

        `lease` is the turn's once there is one; on failure it has been emptied, not given back. Raises `RpcError`,
        `ProtocolError`, `WorkerBusy` where the child holds as much as it may, `RequestSuspected`. A caller that is cut
        short leaves nothing behind: what was begun is ended.
        """
        return run_shielded(self.cleanup, partial(self._begin, request, lease, observer), _cancel)

    def _begin(self, request: TurnRequest, lease: Lease, observer: TurnObserver) -> Turn:
        load = _load_of(request)
        with _suspecting(load), ExitStack() as undoing:
            held = self.histories.reserve(lease.owner, load.held_bytes)
            undoing.callback(held.release)
            thread_id = self._start(request, load, lease.owner, observer)
            undoing.pop_all()  # from now on it is the thread's
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
            self._threads[thread_id] = thread = Thread(
                turn, counters=self._counters, is_suspect=load.is_suspect, held=held, is_asked=False
            )
            undoing.callback(_cancel, turn)
            self._inject(thread_id, load, lease.owner, observer)
            thread.is_asked = True
            accepted = self._call(
                "turn/start",
                protocol.turn_start_params(thread_id, request),
                observer.called,
                lambda late: self._roll_back(thread_id, protocol.parse_turn_id(late)),
                heavy_of=lease.owner if load.is_heavy else None,
            )
            turn.begin(protocol.parse_turn_id(accepted))
            undoing.pop_all()
            return turn

    def _start(
        self, request: TurnRequest, load: Load, owner: str, observer: TurnObserver
    ) -> ThreadId:
        # A slow child may do it after the deadline all the same: hence `_roll_back`.
        started = self._call(
            "thread/start",
            protocol.thread_start_params(request),
            observer.called,
            lambda late: self._roll_back(protocol.parse_thread_id(late)),
            heavy_of=owner if load.is_offer_heavy else None,
        )
        return protocol.parse_thread_id(started)

    def _inject(self, thread_id: ThreadId, load: Load, owner: str, observer: TurnObserver) -> None:
        """Give a thread its history, piece by piece. Blocks; the observer sees one call."""
        method = "thread/inject_items"
        items = [item for piece in load.pieces for item in piece.items]
        whole = CallReport(method, protocol.inject_items_params(thread_id, items))
        try:
            for piece in load.pieces:
                params = protocol.inject_items_params(thread_id, piece.items)
                is_heavy = piece.is_heavy or load.is_offer_heavy
                self._call(method, params, whole.include, heavy_of=owner if is_heavy else None)
        finally:
            observer.called(whole)

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
            self._call("thread/unsubscribe", unloading, turn.observer.called)
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
        thread = self._threads.pop(turn.thread_id, None)
        if thread is not None and thread.held is not None:
            thread.held.release()
        if not self._threads:
            self._idle.set()

    def _interrupt(self, turn: Turn, turn_id: TurnId) -> None:
        """Ask until codex says that the turn is over: an early request is refused while the turn runs on."""
        params = protocol.interrupt_params(turn.thread_id, turn_id)
        slot_grace = gevent.spawn_later(SLOT_GRACE_S, turn.lease.turn_finished)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    self._call("turn/interrupt", params, turn.observer.called)
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
            return protocol.is_active(self._call("thread/read", params, turn.observer.called))
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
        """End every open turn from our side; `has_ended` if nothing of it runs in the child any more.

        Where a child was lost, a request that may be the reason for it is told so.
        """
        for thread in list(self._threads.values()):
            if has_ended:
                thread.turn.ended.set()
            is_suspect = isinstance(error, WorkerLost) and thread.is_suspect
            thread.turn.fail(suspected() if is_suspect else error)

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
        observer: CallObserver = ignore_call,
        late: LateResultHandler = ignore_late_result,
        *,
        heavy_of: str | None = None,
    ) -> object:
        """Call the child; `heavy_of` is the name of a key in whose name the call is a heavy one."""
        if heavy_of is None:
            return self._channel.call(method, params, self._rpc_timeout_s, observer, on_late=late)
        with self.heavy.one(heavy_of):
            timeout_s = max(ANSWER_S, self._rpc_timeout_s)
            return self._channel.call(method, params, timeout_s, observer, on_late=late)


def _load_of(request: TurnRequest) -> Load:
    """Return what a request asks of the child. Lets others run in between: it may have many items."""
    pieces: list[Piece] = []
    for piece in in_pieces(request.items):
        pieces.append(piece)
        gevent.sleep(0)
    return Load(tuple(pieces), len(orjson.dumps([request.tools, request.output_schema])))


@contextmanager
def _suspecting(load: Load) -> Iterator[None]:
    """Raise `RequestSuspected` where the child goes away under what may be the reason for it."""
    try:
        yield
    except ChannelClosed as error:
        if load.is_suspect:
            raise suspected() from error
        raise


def suspected() -> RequestSuspected:
    """Return the error of a request that is so large that the child may have gone away because of it."""
    return RequestSuspected(
        "The codex process went away while it worked on this request. Because the request is large, which may be why, "
        "it is not tried again."
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
