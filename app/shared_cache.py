"""Cache of several owners in one bound: whoever has most makes room, so that nobody's entries push out another's.

An owner is the name of a client key. One alone may have all; what others then keep, it gives up. No lock: nothing here
yields between reading and changing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from cachetools import Cache

K = TypeVar("K")
V = TypeVar("V")


class SharedCache(Generic[K, V]):
    """Up to `limit` units of entries. `make` makes one owner's cache: how long an entry lives there, and its size.

    `on_evicted` is called for each entry that has made room; it must not block.
    """

    def __init__(
        self, limit: int, make: Callable[[], Cache[K, V]], on_evicted: Callable[[], object]
    ) -> None:
        self.limit = limit
        self._make, self._on_evicted = make, on_evicted
        self._of: dict[str, Cache[K, V]] = {}

    @property
    def size(self) -> int:
        """Units in use."""
        return round(sum(cache.currsize for cache in self._of.values()))

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def keys(self, owner: str) -> list[K]:
        """Return the keys of an owner's entries."""
        return list(self._of.get(owner, ()))

    def get(self, owner: str, key: K) -> V | None:
        """Return an owner's entry, None if there is none any more."""
        cache = self._of.get(owner)
        return None if cache is None else cache.get(key)

    def pop(self, owner: str, key: K) -> V | None:
        """Remove an owner's entry, and return it if there is one."""
        cache = self._of.get(owner)
        return None if cache is None else cache.pop(key, None)

    def put(self, owner: str, key: K, value: V) -> None:
        """Keep an entry, unless it is larger than everything; those of whoever then has most make room."""
        mine = self._of.get(owner)
        if mine is None:
            mine = self._of[owner] = self._make()
        mine.pop(key, None)
        size = round(mine.getsizeof(value))
        if size > self.limit:
            return
        while self.size + size > self.limit:
            others = (cache for cache in self._of.values() if cache)
            max(others, key=lambda cache: cache.currsize + size * (cache is mine)).popitem()
            self._on_evicted()
        mine[key] = value
