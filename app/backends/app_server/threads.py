"""Threads of one child: begun for a turn or gone on with, then kept or unloaded. No other module knows the life of one.

A request carries its whole conversation. A thread that holds the beginning of it, and nothing else, is given the rest
and asked; else a fresh one is given everything: `thread/start`, `thread/inject_items` in pieces, `turn/start` without
input (ADR-0050, ADR-0056). A thread that is lost costs time and never truth.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import gevent
from gevent.event import Event
from gevent.pool import Group

from app.backend.lease import Lease
from app.backend.observer import NULL_OBSERVER, TurnObserver
from app.backend.request import Item, TurnRequest
from app.backends.app_server import conversation, protocol
from app.backends.app_server.beginning import Beginning, load_of, suspected, suspecting
from app.backends.app_server.history import Load, history_budget
from app.backends.app_server.kept_threads import Found, KeptLimits, KeptThreads
from app.backends.app_server.parse_events import ProtocolError, ThreadId, TurnId
from app.backends.app_server.shielded import run_shielded
from app.backends.app_server.thread import Thread, terms_of
from app.backends.app_server.thread_calls import ThreadCalls
from app.backends.app_server.thread_ends import ThreadEnds
from app.backends.app_server.tool_calls import ToolCalls
from app.backends.app_server.turn import Turn
from app.backends.app_server.warm_refill import WarmRefill
from app.backends.app_server.warm_threads import OFF, Warmth, WarmThread, WarmThreads
from app.errors import GatewayError, WorkerLost
from app.pause import pause
from app.rpc.channel import Channel
from app.rpc.errors import CallRefused, CallTimeout, ChannelClosed, RpcError

log = logging.getLogger("codex_api.codex")

_EXPIRY_S = 30.0
_SETTLED_S = 0.05
"""How long after a turn was begun the child is busy with sending it."""


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
        self._counters = counters
        self.calls = ThreadCalls(channel, rpc_timeout_s)
        self.ends = ThreadEnds(self.calls, self.cleanup, counters)
        self.histories = history_budget()
        """Budget of the bytes that children hold for their threads: the same for all children of a worker."""
        self.kept = KeptThreads(KeptLimits())
        self.warm = WarmThreads(OFF)
        self._threads: dict[ThreadId, Thread] = {}
        self._on_close, self._asks = self._finish, self._still_runs  # one object for all turns
        self._idle = Event()
        self._changed = Event()  # set whenever the child may have become quiet
        self._begun_at = 0.0
        self._beginning = 0  # of which some have no thread yet, or took a kept one
        self._is_keeping = True
        self.begun = 0
        """How many turns were begun."""

    def __len__(self) -> int:
        return len(self._threads)

    def get(self, thread_id: ThreadId) -> Thread | None:
        """Return a thread whose turn was begun and not given back yet."""
        return self._threads.get(thread_id)

    def get_any(self, thread_id: ThreadId) -> Thread | None:
        """Return a thread that is loaded, also one that is kept."""
        return self._threads.get(thread_id) or self.kept.get(thread_id)

    def turns(self) -> list[Turn]:
        """Return the turns that were begun and not given back yet."""
        return [thread.turn for thread in self._threads.values()]

    # Beginning

    def begin(
        self,
        request: TurnRequest,
        lease: Lease,
        new_observer: Callable[[], TurnObserver] = lambda: NULL_OBSERVER,
    ) -> Turn:
        """Begin a turn on a thread that holds the conversation, or on a fresh one. Blocks for several RPCs.

        `lease` is the turn's once there is one; on failure it has been emptied, not given back. Where a kept thread is
        of no use, two turns are begun, each with an observer. Raises `RpcError`,
        `ProtocolError`, `WorkerBusy` where the child holds as much as it may, `RequestSuspected`. A caller that is cut
        short leaves nothing behind: what was begun is ended.
        """
        work = partial(self._begin_counted, request, lease, new_observer)
        return run_shielded(self.cleanup, work, _cancel)

    def _begin_counted(
        self, request: TurnRequest, lease: Lease, new_observer: Callable[[], TurnObserver]
    ) -> Turn:
        self._beginning += 1
        try:
            return self._begin(request, lease, new_observer)
        finally:
            self._beginning -= 1
            self._begun_at = time.monotonic()
            self._tell_if_idle()

    def _begin(
        self, request: TurnRequest, lease: Lease, new_observer: Callable[[], TurnObserver]
    ) -> Turn:
        terms, offered = terms_of(request, lease.owner)
        is_keeping = self.kept.limits.count and self._is_keeping
        asked = conversation.read(request.items, pause) if is_keeping else conversation.NOTHING
        found = Found.AGAIN if request.is_another_try else self.kept.take(terms, asked)
        beginning = Beginning(request, terms, offered, asked, lease, new_observer, new_observer())
        if isinstance(found, Found):
            return self._begin_fresh(beginning, found)
        thread, stand = found
        if turn := beginning.attempt(
            lambda: self._go_on(beginning, thread, stand.length),
            (CallRefused, CallTimeout, ProtocolError),
        ):
            return turn
        # It was not what it was taken for. Nothing was said yet, and a fresh one can be given everything.
        self._counters["kept_thread_lost"] += 1
        log.warning("kept_thread_lost", extra={"thread_id": thread.turn.thread_id})
        return self._begin_fresh(beginning, Found.LOST)

    def _begin_fresh(self, beginning: Beginning, found: Found) -> Turn:
        """Begin a turn on a thread that holds nothing: on a warm one, or on one that is started for it."""
        beginning.found = found
        request, now = beginning.request, time.monotonic()
        warm = self.warm.take(request, beginning.terms, beginning.offered, now)
        if isinstance(warm, Warmth):
            beginning.warmth = warm
            return self._begin_empty(beginning)
        beginning.warmth = Warmth.WARM
        if turn := beginning.attempt(
            lambda: self._begin_empty(beginning, warm), (CallRefused, ProtocolError)
        ):
            return turn
        beginning.warmth = Warmth.LOST
        turn = self._begin_empty(beginning)
        self._counters["warm_thread_lost"] += 1  # for no fault of the request's
        log.warning("warm_thread_lost", extra={"thread_id": warm.thread_id})
        return turn

    def _begin_empty(self, beginning: Beginning, warm: WarmThread | None = None) -> Turn:
        request, terms, observer = beginning.request, beginning.terms, beginning.observer
        load = beginning.load()
        with suspecting(load):
            held = None
            try:
                held = self.histories.reserve(terms.owner, load.held_bytes)
                thread_id = warm.take() if warm is not None else self._start(beginning, load)
            except BaseException:
                if held is not None:
                    held.release()
                if warm is not None:
                    self.ends.unload_warm([warm])
                raise
            if warm is not None and warm.report is not None:
                observer.called(warm.report)
            turn = self._turn(thread_id, beginning)
            calls = ToolCalls(tool["name"] for tool in request.tools) if request.tools else None
            thread = Thread(turn, terms, calls=calls, counters=self._counters)
            thread.hold(beginning.asked, held, load, is_exact=not request.is_final)
            return self._ask(thread, beginning, load)

    def _start(self, beginning: Beginning, load: Load) -> ThreadId:
        request, owner, called = beginning.request, beginning.terms.owner, beginning.observer.called
        return self.calls.start(request, load, owner, called, self._roll_back_start)

    def _go_on(self, beginning: Beginning, thread: Thread, count: int) -> Turn:
        """Begin a turn on a kept thread, which holds so many items of the request."""
        request, owner = beginning.request, beginning.terms.owner
        load = beginning.load(count, before=thread.size)
        with suspecting(load):
            try:
                held = self.histories.reserve(owner, load.held_bytes)
            except GatewayError:
                self._keep(thread)
                raise
            waiting = thread.turn.turn_id if thread.waits_for_results else None
            turn = self._turn(thread.turn.thread_id, beginning)
            thread.go_on(turn)
            thread.hold(beginning.asked, held, load, is_exact=not request.is_final)
            if waiting is not None:
                return self._give_results(thread, beginning, request.items[count:], waiting)
            return self._ask(thread, beginning, load)

    def _turn(self, thread_id: ThreadId, beginning: Beginning) -> Turn:
        return Turn(
            thread_id,
            self._generation,
            self._on_close,
            has_tools=bool(beginning.request.tools),
            observer=beginning.observer,
            lease=beginning.lease,
            still_runs=self._asks,
            origin=beginning.origin,
        )

    @contextmanager
    def _running(self, thread: Thread) -> Iterator[Turn]:
        """Let events reach a thread from now on; where its turn cannot be begun, end both."""
        turn = thread.turn
        self.begun += 1
        self._threads[turn.thread_id] = thread
        try:
            yield turn
        except BaseException:
            thread.is_exact = False
            _cancel(turn)
            raise

    def _ask(self, thread: Thread, beginning: Beginning, load: Load) -> Turn:
        """Give a thread what is new, and begin its turn."""
        owner, called = beginning.terms.owner, beginning.observer.called
        on_late = partial(self._roll_back_turn, thread.turn.thread_id)
        with self._running(thread) as turn:
            turn.begin(self.calls.ask(thread, beginning.request, load, owner, called, on_late))
            return turn

    def _give_results(
        self, thread: Thread, beginning: Beginning, new: Sequence[Item], turn_id: TurnId
    ) -> Turn:
        """Let the turn that waits for results go on: it is the same for codex, and another one here."""
        results, more = thread.split_results(new)
        with self._running(thread) as turn:
            if self._channel.is_closed:  # an answer to the child raises nothing
                raise ChannelClosed("The child went away before it was given the results.")
            turn.begin(turn_id)
            if more:  # codex puts them behind the results
                load = load_of(more, 0)
                owner = beginning.terms.owner
                self.calls.inject(turn.thread_id, load, owner, beginning.observer.called)
            thread.give_results(results, more, self._channel.answer)
            return turn

    def _roll_back_start(self, late: object) -> None:
        self.ends.roll_back(protocol.parse_thread_id(late))

    def _roll_back_turn(self, thread_id: ThreadId, late: object) -> None:
        self.ends.roll_back(thread_id, protocol.parse_turn_id(late))

    # Ending

    def _finish(self, turn: Turn) -> None:
        if turn.ended.is_set():
            turn.lease.turn_finished()
        if turn.is_end_lost:
            self._counters["turn_end_lost"] += 1
            log.warning("turn_end_lost", extra={"thread_id": turn.thread_id})
        thread = self._threads.get(turn.thread_id)
        if thread is None or not self._can_keep(thread):
            self.cleanup.spawn(self._end, turn)
            return
        turn.lease.turn_finished()
        if thread.has_long_answer:
            self.cleanup.spawn(self._keep_answered, thread, pause)
        else:
            self._keep_answered(thread)

    def _can_keep(self, thread: Thread) -> bool:
        return self._is_keeping and thread.is_worth_keeping

    def _keep_answered(self, thread: Thread, pause: Callable[[], None] = lambda: None) -> None:
        """Keep a thread with its answer. Blocks only with a pause: then it may be of no use any more."""
        turn = thread.turn
        thread.read_answer(pause)
        if not self._can_keep(thread):
            self._end(turn)
            return
        self._forget(turn)
        self._keep(thread)
        observer, turn.observer = turn.observer, NULL_OBSERVER  # it holds what it has seen
        observer.closed(turn.facts)

    def _end(self, turn: Turn) -> None:
        try:
            self.ends.end(turn)
        finally:
            self._forget(turn)
            turn.observer.closed(turn.facts)

    def _forget(self, turn: Turn) -> None:
        thread = self._threads.pop(turn.thread_id, None)
        if thread is not None and thread.held is not None:
            thread.held.release()
        self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if not self._beginning:  # else the last of them tells
            self._changed.set()
            if not self._threads:
                self._idle.set()

    def _still_runs(self, turn: Turn) -> bool:
        """Ask codex whether a turn goes on. Blocks; where it gives no answer, the turn does not."""
        try:
            return self.calls.is_active(turn.thread_id, turn.observer.called)
        except (RpcError, ProtocolError):
            return False

    # Keeping

    def _keep(self, thread: Thread) -> None:
        self.ends.unload(self.kept.keep(thread, time.monotonic()))

    def expire_kept(self) -> None:
        """Give up kept threads when their time is over, for ever. Blocks: a greenlet of its own."""
        while True:
            gevent.sleep(min(_EXPIRY_S, self.kept.limits.ttl_s / 4))
            self.ends.unload(self.kept.expire(time.monotonic()))

    def give_up_kept(self, reason: str) -> int:
        """Unload every kept thread; return how many there were. Does not block."""
        gone = self.kept.clear(reason)
        self.ends.unload(gone)
        return len(gone)

    def give_up_all(self) -> int:
        """Unload whatever has no turn, since the child has grown; return how much that was. Does not block."""
        return self.give_up_kept("memory") + self.stop_warming()

    def lose_kept(self, thread: Thread) -> None:
        """Give up a kept thread whose turn has ended by itself. Does not block."""
        thread.turn.ended.set()
        self.kept.remove(thread)
        self.ends.unload([thread])

    def keep_warm(self, model: str, may_start: Callable[[], bool]) -> None:
        """Start threads ahead of requests, for ever; `model` is for the first one. Blocks: a greenlet of its own."""
        refill = WarmRefill(self.warm, self.calls, self.ends, self.histories, self._counters)
        refill.run(model, self._changed, is_quiet=self._is_quiet, may_start=may_start)

    def _is_quiet(self) -> bool:
        """True while the child begins no turn; what it says of others goes on beside that."""
        is_settled = time.monotonic() - self._begun_at > _SETTLED_S
        return not self._beginning and (is_settled or not self._threads)

    def stop_warming(self) -> int:
        """Give up every warm thread, for ever; return how many there were. Does not block."""
        gone = self.warm.stop()
        self.ends.unload_warm(gone)
        return len(gone)

    # All of them

    def fail_turns(self, error: GatewayError, *, has_ended: bool = False) -> None:
        """End every open turn from our side; `has_ended` if nothing of it runs in the child any more.

        Where a child was lost, a request that may be the reason for it is told so.
        """
        if has_ended:
            self._is_keeping = False
            for warm in self.warm.stop():
                warm.take()
            for kept in self.kept.clear("lost"):
                kept.turn.ended.set()
        for thread in list(self._threads.values()):
            if has_ended:
                thread.turn.ended.set()
            is_suspect = isinstance(error, WorkerLost) and thread.is_suspect
            thread.turn.fail(suspected() if is_suspect else error)

    def wait_idle(self) -> None:
        """Keep no thread from now on; block until no turn is left or being begun, or the channel is closed."""
        self._is_keeping = False
        self.give_up_kept("replaced")
        self.stop_warming()
        while (self._threads or self._beginning) and not self._channel.is_closed:
            self._idle.clear()
            self._idle.wait()

    def release_waiters(self) -> None:
        """Let `wait_idle` return."""
        self._idle.set()


def _cancel(turn: Turn) -> None:
    """End a turn whose caller is gone; its slot is the caller's to give back."""
    turn.lease.transfer()
    turn.close()
