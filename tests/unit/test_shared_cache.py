"""Caches of several owners: who makes room for whom."""

from __future__ import annotations

from cachetools import LRUCache

from app.shared_cache import SharedCache


def cache(limit: int, evicted: list[str]) -> SharedCache[str, int]:
    """Entries weigh what they are."""
    return SharedCache(limit, lambda: LRUCache(limit, getsizeof=int), lambda: evicted.append("x"))


def test_one_alone_has_all_and_its_oldest_goes() -> None:
    evicted: list[str] = []
    kept = cache(3, evicted)
    for key in "abc":
        kept.put("one", key, 1)
    assert (kept.size, len(kept), evicted) == (3, 3, [])
    assert kept.get("one", "a") == 1
    kept.put("one", "d", 1)
    assert kept.keys("one") == ["a", "c", "d"]
    assert (kept.size, evicted) == (3, ["x"])


def test_a_flood_leaves_the_others_what_they_have() -> None:
    evicted: list[str] = []
    kept = cache(10, evicted)
    for number in range(100):
        kept.put("greedy", str(number), 1)
    for key in "abcde":
        kept.put("modest", key, 1)
    for number in range(100):
        kept.put("greedy", str(number), 1)
    assert kept.keys("modest") == list("abcde")
    assert kept.keys("greedy") == ["95", "96", "97", "98", "99"]
    assert kept.size == 10
    assert len(evicted) == 90 + 5 + 100


def test_a_large_entry_takes_from_who_has_most_first() -> None:
    evicted: list[str] = []
    kept = cache(10, evicted)
    kept.put("small", "a", 2)
    kept.put("large", "b", 6)
    kept.put("new", "c", 7)
    assert (kept.keys("small"), kept.keys("large"), kept.keys("new")) == (["a"], [], ["c"])


def test_what_is_larger_than_everything_is_not_kept_and_replaces_what_was() -> None:
    kept = cache(10, [])
    kept.put("one", "a", 1)
    kept.put("one", "a", 11)
    assert (kept.get("one", "a"), len(kept)) == (None, 0)


def test_the_same_again_takes_no_more_room() -> None:
    evicted: list[str] = []
    kept = cache(10, evicted)
    for _ in range(3):
        kept.put("one", "a", 10)
    assert (kept.size, evicted) == (10, [])


def test_what_is_removed_is_gone() -> None:
    kept = cache(10, [])
    kept.put("one", "a", 1)
    assert (kept.pop("two", "a"), kept.pop("one", "a"), kept.pop("one", "a")) == (None, 1, None)
    assert (kept.get("two", "a"), kept.keys("two"), kept.size) == (None, [], 0)
