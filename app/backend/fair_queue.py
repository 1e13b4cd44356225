"""Fair queue between keys: who gets the next slot, and who is evicted when it is full. Pure: no clock, no greenlet.

Within an owner (the key that a request came with) it is first come, first served. Between owners the one with the
fewest slots is next; of several, the one that was served longest ago. Who is next stays next: slots that become free
are kept until all that the request needs are there, so that one with many choices is never overtaken for ever. A
request that cannot fit beside its own owner's turns waits for those, and holds up no other owner. Where several owners
are known, none may have all slots (`app.budget.Shares`): a key whose turns never end leaves some to the others.

A full queue evicts the newest request of the owner that waits most; of several, of the one that runs more.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from app.budget import Shares


class TicketState(Enum):
    """Where a request for slots is."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    EVICTED = "evicted"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Ticket:
    """One request for `count` slots. The queue moves its state."""

    owner: str
    count: int
    state: TicketState = TicketState.WAITING


T = TypeVar("T", bound=Ticket)


class FairQueue(Generic[T]):
    """`limit` slots and at most `most_waiting` tickets behind them. `count` is never above `limit`.

    Where `is_split`, an owner has no more than its share.

    Methods that move tickets return those whose wait is over, admitted or evicted.
    """

    def __init__(self, limit: int, most_waiting: int, *, is_split: bool = False) -> None:
        self.limit = limit
        self.waiting = 0
        self.most_waiting = most_waiting
        self._slots = Shares(limit, is_split=is_split)
        self._lines: dict[str, deque[T]] = {}  # owners that wait, in the order they began to
        self._next: T | None = None
        # When an owner was last given slots, as a running number.
        self._served: Counter[str] = Counter()
        self._admissions = 0

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return self._slots.used

    def by_owner(self) -> dict[str, int]:
        """Return how many slots each owner has; one that has none is not there."""
        return self._slots.by_owner()

    def may_have(self, owner: str, count: int) -> bool:
        """Return True if so many more slots are within the owner's share, whether or not they are free."""
        return self._slots.may_have(owner, count)

    def try_acquire(self, owner: str, count: int) -> bool:
        """Take slots if they are free and no ticket waits; False if not."""
        if self.waiting or self.running + count > self.limit or not self.may_have(owner, count):
            return False
        self._give(owner, count)
        return True

    def enqueue(self, ticket: T) -> list[T]:
        """Let a ticket wait, if it must. It may be among the tickets returned."""
        self._lines.setdefault(ticket.owner, deque()).append(ticket)
        self.waiting += 1
        over = self._advance()
        if self.waiting > self.most_waiting:
            loser = self._pick_victim(ticket.owner)
            self._remove(loser)
            loser.state = TicketState.EVICTED
            over += [loser, *self._advance()]
        return over

    def cancel(self, ticket: T) -> list[T]:
        """Take a ticket back, wherever it is: what it waited for or was given goes to the next."""
        state, ticket.state = ticket.state, TicketState.GONE
        if state is TicketState.ADMITTED:
            return self.release(ticket.owner, ticket.count)
        if state is TicketState.WAITING:
            self._remove(ticket)
        return self._advance()

    def release(self, owner: str, count: int = 1) -> list[T]:
        """Give slots back."""
        self._slots.add(owner, -count)
        return self._advance() if self.waiting else []

    def slots_ahead(self, owner: str, count: int) -> int:
        """Return about how many slots have to become free until one more ticket of `owner` has all of its own.

        Other owners are served in turn with this one, so they count for as much as it has itself, at most.
        """
        asked = {name: sum(t.count for t in line) for name, line in self._lines.items()}
        own = asked.pop(owner, 0) + count
        return own + sum(min(other, own) for other in asked.values())

    def _advance(self) -> list[T]:
        admitted: list[T] = []
        # The next ticket is chosen only once a slot is free: until then the number of turns may change.
        while self.running < self.limit:
            ticket = self._next or self._choose()
            if ticket is None:
                break
            if self.running + ticket.count > self.limit:
                self._next = ticket
                break
            self._remove(ticket)
            ticket.state = TicketState.ADMITTED
            self._give(ticket.owner, ticket.count)
            admitted.append(ticket)
        return admitted

    def _choose(self) -> T | None:
        heads = [line[0] for line in self._lines.values()]
        fitting = [t for t in heads if self.may_have(t.owner, t.count)]
        return min(
            fitting, key=lambda t: (self._slots.of(t.owner), self._served[t.owner]), default=None
        )

    def _pick_victim(self, newcomer: str) -> T:
        def weight(owner: str) -> tuple[int, int, bool]:
            return len(self._lines[owner]), self._slots.of(owner), owner == newcomer

        return self._lines[max(self._lines, key=weight)][-1]

    def _remove(self, ticket: T) -> None:
        line = self._lines[ticket.owner]
        line.remove(ticket)
        if not line:
            del self._lines[ticket.owner]
        if ticket is self._next:
            self._next = None
        self.waiting -= 1

    def _give(self, owner: str, count: int) -> None:
        self._slots.add(owner, count)
        self._admissions += 1
        self._served[owner] = self._admissions
