"""Warm threads of one child: started ahead of requests, and still empty. The clock is an argument.

To start a thread is half of what a turn waits for before it is sent. Its model, its effort and the form of its answer
come with `turn/start`, so a thread without tools serves every request that offers none. Tools are fixed with a thread:
there are some for lists that have come more than once, each for its key alone.

How many wait follows what is asked for: one more whenever there was none, one fewer whenever one was not needed for
long, and none after a quiet hour.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from app.backend.observer import WARM
from app.backend.request import TurnRequest
from app.backends.app_server.parse_events import ThreadId
from app.backends.app_server.thread import Terms
from app.budget import Reservation
from app.rpc.calls import CallReport

MOST_LISTS = 16
"""Lists of tools that are remembered, and none; the key that has most forgets what it asked for longest ago."""

LARGEST_LIST = 128 * 1024
"""Bytes of JSON. A longer list of tools is started with each time: it would be held for little."""


class Warmth(Enum):
    """What came of looking for a warm thread. The value is a label of a metric."""

    WARM = WARM
    COLD = "cold"
    """None waited."""
    TOOLS = "tools"
    """The request offers tools that were not seen before, or too many."""
    VERBOSITY = "verbosity"
    """The request asks for one, which is fixed with the thread."""
    LOST = "lost"
    """One waited, and the child did not go on with it."""
    OFF = "off"


@dataclass(frozen=True, slots=True)
class WarmLimits:
    """How many threads wait at most; seconds until one that nobody needed is given up, and until all are."""

    count: int = 8
    spare_s: float = 600.0
    quiet_s: float = 3600.0


class Kind(NamedTuple):
    """What a thread is started with, and cannot be changed by its turn: tools of a key, or none, which is nobody's."""

    owner: str = ""
    tools: bytes = b""


NO_TOOLS = Kind()


def kind_of(terms: Terms) -> Kind:
    """Return what kind of thread a request needs."""
    return Kind(terms.owner, terms.tools) if terms.tools else NO_TOOLS


@dataclass(frozen=True, slots=True)
class WarmThread:
    """One that waits. `report` is of the call that started it, `held` what is set aside for its tools.

    `started` is when that was asked for, in monotonic seconds.
    """

    thread_id: ThreadId
    kind: Kind
    started: float
    report: CallReport | None = None
    held: Reservation | None = None

    def take(self) -> ThreadId:
        """Set nothing aside for it any more: it has a turn from now on, or is unloaded."""
        if self.held is not None:
            self.held.release()
        return self.thread_id


@dataclass(slots=True)
class _Wish:
    """What was asked for of one kind: how many threads of it should wait, and what the last request was like."""

    asked: float
    model: str
    size: int = 0
    tools: tuple[Mapping[str, Any], ...] = ()


class Demand:
    """What requests have asked for lately. The same for all children of a worker: a new one begins with it."""

    def __init__(self, limits: WarmLimits, now: float) -> None:
        self.limits = limits
        # The first request should not be the slow one.
        first = {NO_TOOLS: _Wish(now, "", 1)} if limits.count else {}
        self._wishes: OrderedDict[Kind, _Wish] = OrderedDict(first)

    def ask(self, kind: Kind, request: TurnRequest, now: float) -> bool:
        """Note a request; True if threads of its kind are worth to be held."""
        wish = self._wishes.get(kind)
        if wish is None or self._is_forgotten(wish, now):
            wish = self._wishes[kind] = _Wish(now, request.model)
        elif kind is not NO_TOOLS:
            wish.tools = request.tools  # they have come again
        wish.asked, wish.model = now, request.model
        self._wishes.move_to_end(kind)
        while len(self._wishes) > MOST_LISTS:
            del self._wishes[self._least_worth()]
        return kind == NO_TOOLS or bool(wish.tools)

    def grow(self, kind: Kind) -> None:
        """Note that none waited."""
        wish = self._wishes[kind]
        wish.size = min(wish.size + 1, self.limits.count)

    def shrink(self, kind: Kind) -> None:
        """Note that one was not needed for long; the last one may be all the same."""
        if (wish := self._wishes.get(kind)) is not None:
            wish.size = max(1, wish.size - 1)

    def forget(self, kind: Kind) -> bool:
        """Forget tools that no thread could be started with; False where there are none to forget."""
        return kind != NO_TOOLS and self._wishes.pop(kind, None) is not None

    def sizes(self, now: float) -> dict[Kind, int]:
        """Return how many should wait of each kind, the one asked for last first, and each has one before any has two.

        Keys take turns: the lists of one are not in the way of all others.
        """
        wanted = {
            kind: wish.size
            for kind, wish in reversed(self._wishes.items())
            if wish.size and not self._is_forgotten(wish, now)
        }
        sizes: dict[Kind, int] = {}
        for kind in _in_turns(wanted):
            if sum(sizes.values()) == self.limits.count:
                break
            sizes[kind] = sizes.get(kind, 0) + 1
        return sizes

    def start_of(self, kind: Kind, default_model: str) -> TurnRequest:
        """Return what a thread of this kind is started with: of the model that was asked for last."""
        wish = self._wishes[kind]
        return TurnRequest(wish.model or default_model, (), tools=wish.tools)

    def is_asked(self, kind: Kind) -> bool:
        """Return False before the first request: nothing is asked upstream for a thread that may wait in vain."""
        return bool(self._wishes[kind].model)

    def _least_worth(self) -> Kind:
        """Return what was asked for longest ago, of the key that has most lists."""
        counts = Counter(kind.owner for kind in self._wishes)
        return max(self._wishes, key=lambda kind: counts[kind.owner])

    def _is_forgotten(self, wish: _Wish, now: float) -> bool:
        return now - wish.asked >= self.limits.quiet_s


OFF = Demand(WarmLimits(count=0), 0.0)


def _in_turns(wanted: dict[Kind, int]) -> Iterator[Kind]:
    before, places = Counter[str](), dict[Kind, int]()
    for kind in wanted:
        places[kind] = before[kind.owner]
        before[kind.owner] += 1
    order = sorted(wanted, key=places.__getitem__)
    for number in range(max(wanted.values(), default=0)):
        yield from (kind for kind in order if wanted[kind] > number)


class WarmThreads:
    """Threads of one child that wait for a turn. No lock: nothing here yields."""

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self._waiting: dict[Kind, deque[WarmThread]] = {}
        self._is_on = demand.limits.count > 0
        self._none_before = -math.inf

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __contains__(self, thread_id: ThreadId) -> bool:
        return any(thread.thread_id == thread_id for thread in self._all())

    def take(
        self, request: TurnRequest, terms: Terms, offered: int, now: float
    ) -> WarmThread | Warmth:
        """Take a thread for a request, or say why there is none; what it asks for is remembered.

        `offered` are the bytes of its tools and its output schema.
        """
        if not self._is_on:
            return Warmth.OFF
        if request.verbosity is not None:
            return Warmth.VERBOSITY
        kind = kind_of(terms)
        is_long = kind is not NO_TOOLS and offered > LARGEST_LIST
        if is_long or not self.demand.ask(kind, request, now):
            return Warmth.TOOLS
        waiting = self._waiting.get(kind)
        if not waiting:
            self.demand.grow(kind)
            return Warmth.COLD
        # The latest: what is too many grows old.
        return waiting.pop()

    def needed(self, now: float) -> Kind | None:
        """Return of which kind another thread should be started; None while there are enough."""
        if not self._is_on or len(self) >= self.demand.limits.count:
            return None
        for kind, size in self.demand.sizes(now).items():
            if len(self._waiting.get(kind, ())) < size:
                return kind
        return None

    def add(self, thread: WarmThread) -> list[WarmThread]:
        """Let a thread wait; return it if it is of no use any more. Then it is to be unloaded."""
        if not self._is_on or thread.started < self._none_before:
            return [thread]
        self._waiting.setdefault(thread.kind, deque()).append(thread)
        return []

    def expire(self, now: float) -> list[WarmThread]:
        """Give up what is too many, and the oldest of each kind if it was not needed for long; to be unloaded."""
        for kind, waiting in self._waiting.items():
            if waiting and now - waiting[0].started >= self.demand.limits.spare_s:
                self.demand.shrink(kind)
        sizes = self.demand.sizes(now)
        gone: list[WarmThread] = []
        for kind, waiting in self._waiting.items():
            while len(waiting) > sizes.get(kind, 0):
                gone.append(waiting.popleft())
        self._waiting = {kind: waiting for kind, waiting in self._waiting.items() if waiting}
        return gone

    def clear(self, now: float) -> list[WarmThread]:
        """Give up all that were started until now; they are to be unloaded."""
        self._none_before = now
        gone = list(self._all())
        self._waiting.clear()
        return gone

    def stop(self) -> list[WarmThread]:
        """Give up all of them, for ever; they are to be unloaded."""
        self._is_on = False
        return self.clear(math.inf)

    def _all(self) -> Iterator[WarmThread]:
        for waiting in self._waiting.values():
            yield from waiting

    def __repr__(self) -> str:
        return f"<WarmThreads {len(self)}/{self.demand.limits.count}>"
