"""Turn of an app-server: a state table, a bounded queue between the pipe's reader and the HTTP side, and a certain end.

The reader puts events in and never waits; the HTTP side takes them out in batches. The first to end the turn (codex, a
lost child, a deadline, a client that left) decides its outcome. `close` is what gives everything back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from gevent import get_hub
from gevent.event import Event as Flag

from app.backend.events import (
    EVENT_BYTES,
    TEXTS,
    Event,
    RawItem,
    ResponseCompleted,
    Retrying,
    TextDelta,
    TextRun,
    TurnEnded,
    TurnStatus,
    held_bytes,
)
from app.backend.lease import Lease
from app.backend.observer import NULL_OBSERVER, TurnFacts, TurnObserver, TurnState
from app.backend.protocols import Pace
from app.backends.app_server.parse_events import ThreadId, TurnId
from app.backends.app_server.progress import Progress
from app.errors import (
    AnswerTooLarge,
    GatewayError,
    SlowReader,
    UpstreamBrokeOff,
    UpstreamError,
    WorkerTimeout,
)
from app.step_log import passed

QUEUE_BYTES = 2 * 1024 * 1024
"""Unread text that one turn may hold, and one event, or what one read of the pipe brings, more. Beyond it the client
does not read: the turn is cut off."""

MAX_RESPONSES = 4
"""Most upstream responses in one turn: codex asks again by itself after a call of a tool that was not offered."""

GATHERED_BYTES = 32 * 1024
"""Pieces of text that a consumer is not woken for at most, if nobody sees them before the end: a millisecond's work."""

LOST_END_S = 10.0
"""How long the end of a turn is waited for once nothing else can come."""

IDLE_GRACE_S = 2.0
"""codex has a limit of its own for an upstream that falls silent, and says more about it: it may speak first."""

ANSWER_CHARACTERS = 2 * 8 * 1024 * 1024
"""Most text that one turn may say, twice: an item that is whole repeats what its pieces said. An answer of 128,000
tokens has less than a million characters. codex, and whoever reads a whole answer, hold all of it."""

ANSWER_EVENTS = 262_144
"""Most events of one turn, of which many may be empty: twice as many as a model says tokens."""

OPEN_STATES = (TurnState.RUNNING, TurnState.PENDING)
"""No set: it would hash a member for each event, in Python."""

_END_STATES: Mapping[TurnStatus, TurnState] = MappingProxyType(
    {
        TurnStatus.COMPLETED: TurnState.COMPLETED,
        TurnStatus.FAILED: TurnState.FAILED,
        TurnStatus.INTERRUPTED: TurnState.INTERRUPTED,
    }
)


class Origin(NamedTuple):
    """What came of looking for a thread to begin on (see `TurnFacts`)."""

    lookup: str = ""
    warmth: str = ""


_UNTOLD = Origin()


class Turn:
    """One turn on one thread. One consumer follows it; `close` may be called by anyone, at any time."""

    # There is one for every open stream.
    __slots__ = (
        "__weakref__",
        "_alarm",
        "_alarm_at",
        "_error",
        "_gathers",
        "_heard_at",
        "_longest_queued",
        "_on_close",
        "_progress",
        "_queue",
        "_queued_bytes",
        "_responses",
        "_said",
        "_said_events",
        "_still_runs",
        "_wake",
        "ended",
        "first_event_at",
        "generation",
        "has_tools",
        "is_end_lost",
        "lease",
        "observer",
        "origin",
        "started",
        "state",
        "thread_id",
        "turn_id",
    )

    def __init__(
        self,
        thread_id: ThreadId,
        generation: int,
        on_close: Callable[[Turn], None],
        *,
        has_tools: bool = False,
        observer: TurnObserver = NULL_OBSERVER,
        lease: Lease | None = None,
        still_runs: Callable[[Turn], bool] = lambda _: False,
        origin: Origin = _UNTOLD,
    ) -> None:
        """`still_runs` asks codex whether the turn goes on; it blocks."""
        self.thread_id = thread_id
        self.generation = generation
        self.origin = origin
        self.has_tools = has_tools
        self.lease = lease or Lease()
        self.observer = observer
        self.turn_id: TurnId | None = None
        self.state = TurnState.PENDING
        self.started = time.monotonic()
        self.first_event_at: float | None = None
        self.is_end_lost = False
        """True once the turn was taken for over without a word of codex's."""
        self.ended = Flag()  # codex said turn/completed, or the child is gone
        self._queue: list[tuple[TurnId, Event]] = []
        self._queued_bytes = self._longest_queued = 0
        self._responses = 0
        self._said = self._said_events = 0
        self._progress = Progress()
        self._heard_at = self.started
        self._gathers = False
        self._still_runs = still_runs
        self._error: GatewayError | None = None
        self._wake = Flag()
        self._alarm: Any = None
        self._alarm_at = 0.0
        self._on_close: Callable[[Turn], None] | None = on_close
        observer.began(self.facts)

    @property
    def facts(self) -> TurnFacts:
        """Return what is known of the turn now."""
        return TurnFacts(
            self.thread_id,
            self.turn_id,
            self.generation,
            self.state,
            self.started,
            self._error,
            *self.origin,
        )

    # The reader's side: never blocks

    def deliver(self, turn_id: TurnId, event: Event) -> None:
        """Queue one event. A turn that was ended by us takes no more, but still learns that codex ended it."""
        if self.turn_id is None and not isinstance(event, RawItem):
            # The answer to turn/start may come later, or never; an interrupt needs the id all the same.
            self.turn_id = turn_id
        is_open = self._error is None and self.state in OPEN_STATES
        if isinstance(event, TurnEnded):
            self.ended.set()
            if is_open:
                self.state = _END_STATES[event.status]
                self._put(turn_id, event)
                self._give_back()  # now, not when a slow client has read it all
            return
        if not is_open:
            return
        # codex also reports the items that were injected, under no turn; and a thread may have had turns before.
        is_ours = turn_id == self.turn_id
        if excess := self._excess(event, is_ours=is_ours):
            self.fail(excess)
            return
        self._take_in(turn_id, event, is_ours=is_ours)

    def deliver_text(self, turn_id: TurnId, run: TextRun) -> None:
        """Queue pieces of text that came together and count as so many events; bounds are looked at behind the last."""
        if self.turn_id is None:
            self.turn_id = turn_id
        if self._error is not None or self.state not in OPEN_STATES:
            return
        is_ours = turn_id == self.turn_id
        lengths = [len(text) for text in run.texts] if is_ours else [0]
        excess = self._overflow(sum(lengths), max(lengths), len(run.texts))
        self._take_in(turn_id, run, is_ours=is_ours)
        if excess:
            self.fail(excess)

    def _take_in(self, turn_id: TurnId, event: Event, *, is_ours: bool) -> None:
        self._put(turn_id, event)
        if is_ours:
            self._progress.note(event)
            self._heard_at = time.monotonic()

    def _put(self, turn_id: TurnId, event: Event) -> None:
        self._queue.append((turn_id, event))
        may_wait = self._gathers and isinstance(event, TEXTS)
        if not may_wait or self._queued_bytes > GATHERED_BYTES:
            self._wake.set()

    def _overflow(self, characters: int, longest: int, events: int = 1) -> GatewayError | None:
        """Count events that came together, and what they say; return the error if that goes beyond a bound."""
        # One event may be larger than the bound, and others come in the same moment: it tells nothing of the reader.
        self._queued_bytes += characters + EVENT_BYTES * events
        self._longest_queued = max(self._longest_queued, longest + EVENT_BYTES)
        if self._queued_bytes - self._longest_queued > QUEUE_BYTES:
            return SlowReader("The client reads too slowly; its answer was cut off.")
        self._said += characters
        self._said_events += events
        if self._said > ANSWER_CHARACTERS or self._said_events > ANSWER_EVENTS:
            return too_large()
        return None

    def _excess(self, event: Event, *, is_ours: bool) -> GatewayError | None:
        """Return the error if an event goes beyond a bound, or can only be waited for."""
        characters = held_bytes(event) - EVENT_BYTES if is_ours else 0
        overflow = self._overflow(characters, characters)
        if overflow is not None or isinstance(event, TextDelta):
            return overflow
        if isinstance(event, Retrying):
            return UpstreamBrokeOff("The upstream cannot be reached.")
        if isinstance(event, ResponseCompleted):
            self._responses += 1
            if self._responses > MAX_RESPONSES:
                return UpstreamError("The model kept calling tools that were not offered to it.")
        return None

    def fail(self, error: GatewayError) -> None:
        """End the turn from our side: what is queued is still read, then `error` is raised. The first error stays.

        It is given back at once: the consumer may be blocked on a client that does not read, for ever.
        """
        if self._error is None and self.state in OPEN_STATES:
            self._error = error
            self.state = TurnState.FAILED
            self._wake.set()
            if not error.is_transient:
                self.lease.commit()
            self._give_back()

    # The consumer's side

    def begin(self, turn_id: TurnId) -> None:
        """Note that codex accepted the turn."""
        self.turn_id = turn_id
        if self.state is TurnState.PENDING:
            self.state = TurnState.RUNNING

    def follow(self, pace: Pace, since: float | None = None) -> Iterator[list[Event]]:
        """Yield what happened, in batches, until the turn has ended; an empty batch for each quiet tick.

        `since` is when the first turn of the request was started, if that was another one.
        An end that codex does not tell is made up for where the answer is whole. Raises `WorkerTimeout` at the
        deadlines of `pace`; `WorkerLost`, `Draining`, `SlowReader` if the turn was ended from our side. Blocks.
        """
        tick_ends = time.monotonic() + pace.commit_s
        total_ends = (self.started if since is None else since) + pace.total_s
        while True:
            if self.state is TurnState.ABANDONED:
                return  # closed by us: nothing more is of interest
            self._gathers = pace.gathers and self.first_event_at is not None
            batch = self.take(min(tick_ends, self._deadline(pace, total_ends)) - time.monotonic())
            batch = batch or self._at_deadline(pace, total_ends)
            if not batch and time.monotonic() < tick_ends:
                continue
            tick_ends = time.monotonic() + pace.tick_s
            yield batch
            if batch and isinstance(batch[-1], TurnEnded):
                return
            # Not closed meanwhile; also where events never pause.
            if self._on_close is not None and time.monotonic() >= total_ends:
                yield self._at_deadline(pace, total_ends)
                return

    def take(self, timeout_s: float) -> list[Event]:
        """Return everything queued; wait for the first for at most `timeout_s`. Raises what `fail` was given.

        The wait may end early with nothing, at what an earlier one would have waited for.
        """
        if not self._queue:
            if self._error is not None:
                raise self._error
            self._wake.clear()
            self._set_alarm(timeout_s)
            self._wake.wait()
        ours = self.turn_id  # known by now: an event that may come earlier than it brings it along
        batch = [event for turn_id, event in self._queue if turn_id == ours]
        self._queue.clear()
        self._queued_bytes = self._longest_queued = 0
        if batch and self.first_event_at is None:
            self.first_event_at = time.monotonic()
        if not batch and self._error is not None:
            raise self._error
        return batch

    def _set_alarm(self, in_s: float) -> None:
        """Let the waiting consumer be woken in so many seconds, or earlier: then it looks at the clock, and waits on.

        A wait with a time of its own would make a timer for each piece of text.
        """
        now = time.monotonic()
        if now < self._alarm_at <= now + in_s:
            return
        self._stop_alarm()
        self._alarm_at = now + in_s
        self._alarm = get_hub().loop.timer(max(0.0, in_s))
        self._alarm.start(self._ring, update=True)

    def _ring(self) -> None:
        self._alarm_at = 0.0
        self._wake.set()

    def _stop_alarm(self) -> None:
        alarm, self._alarm, self._alarm_at = self._alarm, None, 0.0
        if alarm is not None:
            alarm.close()

    def _deadline(self, pace: Pace, total_ends: float) -> float:
        if not self.first_event_at:
            return min(total_ends, self.started + pace.first_s)
        patience_s = pace.first_s + IDLE_GRACE_S
        if self._progress.is_settled:
            patience_s = min(LOST_END_S, pace.first_s)
        return min(total_ends, self._heard_at + patience_s)

    def _at_deadline(self, pace: Pace, total_ends: float) -> list[Event]:
        """Return nothing before a deadline, and the end that codex did not tell after it. Raises `WorkerTimeout`."""
        now = time.monotonic()
        if now < self._deadline(pace, total_ends):
            return []
        if now >= total_ends and not self._progress.is_whole:
            raise WorkerTimeout(f"The answer took longer than {pace.total_s:g} seconds.")
        # Of a call codex tells nothing before its arguments are whole, and the model may write them for long.
        if self.first_event_at and now < total_ends and self._is_writing_a_call():
            self._heard_at = time.monotonic()
            return []
        if not self._progress.is_whole:
            raise WorkerTimeout(f"The upstream stayed silent for {pace.first_s:g} seconds.")
        self.is_end_lost = True
        self.state = TurnState.COMPLETED
        self._give_back()
        return [TurnEnded(TurnStatus.COMPLETED)]

    def _is_writing_a_call(self) -> bool:
        return self.has_tools and not self._progress.is_settled and self._still_runs(self)

    def close(self) -> None:
        """Give everything back; interrupts the turn if it still runs. Idempotent, does not block."""
        if self.state in OPEN_STATES:
            self.state = TurnState.ABANDONED
            self._wake.set()  # the consumer sees that it is over
        self.lease.commit()
        self._give_back()

    def _give_back(self) -> None:
        self._stop_alarm()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            passed("app_server.turn_over", thread_id=self.thread_id, state=self.state.value)
            self.observer.ended(self.facts)
            on_close(self)

    def __repr__(self) -> str:
        return f"<Turn {self.thread_id} {self.state.name} queued={len(self._queue)}>"


def too_large() -> AnswerTooLarge:
    """Return the error of an answer that runs away."""
    return AnswerTooLarge(
        "The upstream's answer grew beyond what any model says, without an end, so it was cut off."
    )
