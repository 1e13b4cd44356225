"""Kept threads of one child: those that hold a conversation whose next round may come. The clock is an argument.

A request goes on with a thread if it is of the same key, under the same terms, and its items begin with exactly what
the thread holds. Of several the one that holds most is taken, so that the upstream finds most of it in its cache; of
others nothing is ever seen. What is kept is bounded in number, bytes and time. Where there is no room, the key that has
most gives up what is least worth keeping: first what is too short to be cached upstream, then what was unused longest.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import Enum

from app.backend.observer import KEPT
from app.backends.app_server.conversation import Asked, Stand
from app.backends.app_server.parse_events import ThreadId
from app.backends.app_server.thread import Terms, Thread

MOST_BYTES = 128 << 20
"""Of all kept threads of a child. Text takes about its own size of the child's memory while nothing is done with it."""

_LARGEST = MOST_BYTES // 2
CACHED_TOKENS = 1024
"""OpenAI keeps beginnings of so many tokens or more in its cache."""

_REMEMBERED = 4096  # ends of threads, so that a miss can be told why


class Found(Enum):
    """What came of looking for a thread. The value is a label of a metric."""

    KEPT = KEPT
    OFF = "off"
    FIRST = "first"
    """Nothing was answered in this conversation yet."""
    AGAIN = "again"
    """The turn takes the place of one that came to nothing, and is to owe nothing to it."""
    OTHER = "other"
    """No thread holds the beginning of it: it was changed, answered elsewhere, or cut off."""
    TERMS = "terms"
    """One does, under another model, effort, tools, verbosity or service tier."""
    NAME = "name"
    """One does, and the client calls that conversation by another name."""
    RESULTS = "results"
    """One does, and waits for results of calls that did not come as it needs them."""
    TAKEN = "taken"
    """One did, and another request has gone on with it."""
    LOST = "lost"
    """One did, and the child did not go on with it."""
    EVICTED = "evicted"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class KeptLimits:
    """How many threads are kept, and for how long (seconds) after their last turn."""

    count: int = 64
    ttl_s: float = 1800.0


class _Share:
    """What one key has: its threads, the one that was unused longest first."""

    __slots__ = ("_long", "_short", "size")

    def __init__(self) -> None:
        self.size = 0
        self._short: OrderedDict[ThreadId, Thread] = OrderedDict()
        self._long: OrderedDict[ThreadId, Thread] = OrderedDict()

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    def add(self, thread: Thread) -> None:
        """Add one that was kept after all others."""
        self.size += thread.size
        self._place(thread)[thread.turn.thread_id] = thread

    def remove(self, thread: Thread) -> None:
        """Remove one that was added."""
        self.size -= thread.size
        del self._place(thread)[thread.turn.thread_id]

    def least_worth(self) -> Thread:
        """Return the one of them that is to go first."""
        return next(iter((self._short or self._long).values()))

    def _place(self, thread: Thread) -> OrderedDict[ThreadId, Thread]:
        return self._short if _is_short(thread) else self._long


class KeptThreads:
    """Threads of one child without a running turn. No lock: nothing here yields."""

    def __init__(self, limits: KeptLimits) -> None:
        self.limits = limits
        self.size = 0
        """Bytes of all of them."""
        self.evicted: Counter[str] = Counter()
        """How many had to go, by reason."""
        self._threads: OrderedDict[ThreadId, Thread] = OrderedDict()
        self._shares: dict[str, _Share] = {}
        self._by_mark: dict[tuple[str, bytes], list[Thread]] = {}
        self._gone: OrderedDict[tuple[str, bytes], Found] = OrderedDict()

    def __len__(self) -> int:
        return len(self._threads)

    def get(self, thread_id: ThreadId) -> Thread | None:
        """Return a kept thread."""
        return self._threads.get(thread_id)

    # Finding

    def take(self, terms: Terms, asked: Asked) -> tuple[Thread, Stand] | Found:
        """Take the thread that holds most of a conversation, and where it stands in it; or say why there is none."""
        if not self.limits.count:
            return Found.OFF
        if not asked.stands:
            return Found.FIRST
        reason = Found.OTHER
        for stand in asked.stands:
            place = (terms.owner, stand.mark)
            for thread in reversed(self._by_mark.get(place, ())):
                problem = _problem(thread, terms, asked, stand)
                if problem is None:
                    self.remove(thread)
                    self._remember(place, Found.TAKEN)
                    return thread, stand
                reason = problem if reason is Found.OTHER else reason
            if reason is Found.OTHER:
                reason = self._gone.get(place, reason)
        return reason

    # Keeping

    def keep(self, thread: Thread, now: float) -> list[Thread]:
        """Keep a thread; return those that have to go, maybe this one. They are to be unloaded."""
        if not self.limits.count or thread.size > _LARGEST:
            return [thread]
        thread.kept_at = now
        self._threads[thread.turn.thread_id] = thread
        self._shares.setdefault(thread.terms.owner, _Share()).add(thread)
        self._by_mark.setdefault(_place(thread), []).append(thread)
        self._gone.pop(_place(thread), None)
        self.size += thread.size
        gone: list[Thread] = []
        while len(self._threads) > self.limits.count or self.size > MOST_BYTES:
            gone.append(self._evict(self._least_worth(), Found.EVICTED))
        return gone

    def expire(self, now: float) -> list[Thread]:
        """Give up those that nobody went on with in time; they are to be unloaded."""
        oldest = list(self._threads.values())
        late = [thread for thread in oldest if now - thread.kept_at >= self.limits.ttl_s]
        return [self._evict(thread, Found.EXPIRED) for thread in late]

    def clear(self, reason: str) -> list[Thread]:
        """Give up all of them, for a reason of the child's; they are to be unloaded."""
        threads = list(self._threads.values())
        for thread in threads:
            self.remove(thread)
            self.evicted[reason] += 1
        return threads

    def remove(self, thread: Thread) -> None:
        """Keep a thread no longer; it may have gone before."""
        if self._threads.pop(thread.turn.thread_id, None) is None:
            return
        self.size -= thread.size
        place = owner, _ = _place(thread)
        self._shares[owner].remove(thread)
        if not self._shares[owner]:
            del self._shares[owner]
        self._by_mark[place].remove(thread)
        if not self._by_mark[place]:
            del self._by_mark[place]

    def _evict(self, thread: Thread, reason: Found) -> Thread:
        place = _place(thread)
        self.remove(thread)
        self.evicted[reason.value] += 1
        self._remember(place, reason)
        return thread

    def _remember(self, place: tuple[str, bytes], reason: Found) -> None:
        self._gone[place] = reason
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)

    def _least_worth(self) -> Thread:
        """Return what is least worth keeping of the key that has most of what there is too much of."""
        is_large = self.size > MOST_BYTES
        has = [(share.size if is_large else len(share), share) for share in self._shares.values()]
        most = max(amount for amount, _ in has)
        return min(
            (share.least_worth() for amount, share in has if amount == most),
            key=lambda thread: (not _is_short(thread), thread.kept_at),
        )

    def __repr__(self) -> str:
        return f"<KeptThreads {len(self)}/{self.limits.count} bytes={self.size}>"


def _is_short(thread: Thread) -> bool:
    """Return True for one that is of no use to the upstream's cache."""
    return thread.tokens < CACHED_TOKENS


def _place(thread: Thread) -> tuple[str, bytes]:
    return thread.terms.owner, thread.conversation.mark


def _problem(thread: Thread, terms: Terms, asked: Asked, stand: Stand) -> Found | None:
    """Return why a request cannot go on with a thread that stands there; None if it can."""
    if thread.terms.name != terms.name:
        return Found.NAME
    if thread.terms.settings != terms.settings:
        return Found.TERMS
    if not asked.reasoning_before(stand) <= frozenset(thread.conversation.reasoning):
        return Found.OTHER
    if thread.waits_for_results:
        if thread.terms.schema != terms.schema:
            return Found.TERMS
        if not thread.can_take_results(asked.items[stand.length :]):
            return Found.RESULTS
    return None
