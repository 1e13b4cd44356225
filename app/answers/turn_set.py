"""Set of turns followed as one: the turns that answer one request, usually a single one, `n` of them for `n` choices.

A choice's turn can be put in another's place (it failed, or the model is asked again) or closed early (its answer is
complete) while the others go on. One consumer follows; `close` may be called by anyone, at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from gevent.pool import Group
from gevent.queue import Queue

from app.backend.events import Event
from app.backend.protocols import Pace, Turn
from app.errors import GatewayError

Batch = tuple[int, list[Event] | GatewayError]
"""What happened in one choice: its index and the events, none after a quiet time; or why its turn came to nothing."""

_MERGED_BATCHES = 64  # per request; beyond it the turns' own bounded queues fill up


class TurnSet:
    """The turns of one request, by the index of their choice."""

    def __init__(self, turns: list[Turn], pace: Pace) -> None:
        self.turns = turns
        self.started = min(turn.started for turn in turns)
        self._pace = pace
        self._running = 0
        self._is_closed = False

    # For several turns only: a stream that waits should cost little, and nearly all have one.

    @cached_property
    def _pumps(self) -> Group:
        return Group()

    @cached_property
    def _merged(self) -> Queue[tuple[Turn, Batch] | BaseException | None]:
        return Queue(_MERGED_BATCHES)

    def follow(self) -> Iterator[Batch]:
        """Yield what happens in any choice until all have ended. Blocks."""
        if len(self.turns) == 1:
            yield from self._follow_one()
            return
        for index in range(len(self.turns)):
            self._start_pump(index)
        while self._running:
            item = self._merged.get()
            if item is None:
                self._running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                turn, batch = item
                if turn is self.turns[batch[0]]:  # else its pump was ahead when it was replaced
                    yield batch

    def _follow_one(self) -> Iterator[Batch]:
        turn = None
        while turn is not self.turns[0]:  # until no other turn has taken its place
            turn = self.turns[0]
            try:
                for batch in turn.follow(self._pace, self.started):
                    yield 0, batch
                    if turn is not self.turns[0]:
                        break  # what was on its way is nobody's any more
            except GatewayError as error:
                if turn is self.turns[0]:
                    yield 0, error

    def _start_pump(self, index: int) -> None:
        self._running += 1
        self._pumps.spawn(self._pump, index, self.turns[index])

    def _pump(self, index: int, turn: Turn) -> None:
        """Follow one turn; the one that takes its place has a pump of its own."""
        try:
            for batch in turn.follow(self._pace, self.started):
                self._merged.put((turn, (index, batch)))
            self._merged.put(None)
        except GatewayError as error:
            self._merged.put((turn, (index, error)))
            self._merged.put(None)
        # Handed over, not handled: the consumer raises it in its own greenlet.
        except Exception as error:  # noqa: BLE001
            self._merged.put(error)

    def put(self, index: int, turn: Turn) -> None:
        """Let `turn` take the place of one choice's turn, which is over. Does not block."""
        self.turns[index] = turn
        if self._is_closed:  # while this one was begun
            turn.close()
        elif len(self.turns) > 1:
            self._start_pump(index)

    def close_one(self, index: int) -> None:
        """End one choice early; the others go on. Does not block."""
        self.turns[index].close()

    def close(self) -> None:
        """Give every turn back. Idempotent, does not block."""
        self._is_closed = True
        for turn in self.turns:
            turn.close()
        if len(self.turns) > 1:
            self._pumps.kill(block=False)

    @property
    def first_event_at(self) -> float | None:
        """When the first event of any choice came (monotonic seconds)."""
        moments = [turn.first_event_at for turn in self.turns if turn.first_event_at is not None]
        return min(moments, default=None)
