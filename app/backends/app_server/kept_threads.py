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

_LARGEST = MOST_BYTES // 4
_CACHED_BYTES = 4 * 1024
"""OpenAI keeps beginnings of 1,024 tokens or more in its cache."""

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


class KeptThreads:
    """Threads of one child without a running turn. No lock: nothing here yields."""

    def __init__(self, limits: KeptLimits) -> None:
        self.limits = limits
        self.size = 0
        """Bytes of all of them."""
        self.evicted: Counter[str] = Counter()
        """How many had to go, by reason."""
        self._threads: OrderedDict[ThreadId, Thread] = OrderedDict()
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
        place = _place(thread)
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
        has: Counter[str] = Counter()
        for thread in self._threads.values():
            has[thread.terms.owner] += thread.size if self.size > MOST_BYTES else 1
        most = max(has.values())
        return min(
            (thread for thread in self._threads.values() if has[thread.terms.owner] == most),
            key=lambda thread: (thread.size >= _CACHED_BYTES, thread.kept_at),
        )

    def __repr__(self) -> str:
        return f"<KeptThreads {len(self)}/{self.limits.count} bytes={self.size}>"


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
