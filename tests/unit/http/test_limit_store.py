"""Requests counted by `limits`, in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping

import pytest

from app.http.limit_store import LimitStore
from app.http.rate_limit_headers import Decision
from app.settings.values import Window

MINUTE, HOUR = Window(3, 60), Window(5, 3600)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for timer in set(threading.enumerate()) - before:
        timer.join(5)
        assert not timer.is_alive()


class Counting:
    """A store, and how often it could not ask Redis."""

    def __init__(self, windows: Mapping[str, tuple[Window, ...]], url: str = "memory://") -> None:
        self.failures = 0
        self.store = LimitStore(url, windows, self._fail)

    def _fail(self) -> None:
        self.failures += 1

    def hit(self, name: str) -> Decision:
        decision = self.store.hit(name)
        assert decision is not None
        return decision

    def peek(self, name: str) -> Decision:
        decision = self.store.peek(name)
        assert decision is not None
        return decision


def used(decision: Decision) -> list[int]:
    return [state.used for state in decision.windows]


def test_one_more_than_the_limit_is_refused() -> None:
    keys = Counting({"key": (MINUTE,)})
    allowed = [keys.hit("key").is_allowed for _ in range(5)]
    assert allowed == [True, True, True, False, False]
    assert used(keys.hit("key")) == [3]
    assert keys.failures == 0


def test_the_state_says_when_the_oldest_request_leaves() -> None:
    keys = Counting({"key": (MINUTE,)})
    before = time.time()
    for count in (1, 2, 3, 3):
        (state,) = keys.hit("key").windows
        assert (state.window, state.used) == (MINUTE, count)
        assert 60 - (time.time() - before) <= state.resets_s <= 60
        assert state.retry_after_s == (state.resets_s if count == 3 else 0)


def test_peeking_counts_nothing() -> None:
    keys = Counting({"key": (MINUTE,)})
    (untouched,) = keys.peek("key").windows
    assert (untouched.used, untouched.resets_s) == (0, 0)
    assert [used(keys.peek("key")) for _ in range(3)] == [[0]] * 3
    keys.hit("key")
    assert [used(keys.peek("key")) for _ in range(3)] == [[1]] * 3


def test_keys_are_counted_apart() -> None:
    keys = Counting({"a": (MINUTE,), "b": (MINUTE,), "none": ()})
    assert [used(keys.hit(name)) for name in ("a", "b", "a")] == [[1], [1], [2]]
    for name in ("none", "unknown"):
        assert keys.store.hit(name) is None
        assert keys.store.peek(name) is None


@pytest.mark.parametrize("name", ["a/requests/3/60/second", "a b", "ä", "1", "a:b{c}%"])
def test_any_name_of_a_key_is_a_key_of_its_own(name: str) -> None:
    keys = Counting({"a": (MINUTE,), name: (MINUTE,)})
    for count in (1, 2):
        for key in ("a", name):
            assert used(keys.hit(key)) == [count]


def test_the_shorter_window_is_asked_first_and_spares_the_longer_one() -> None:
    keys = Counting({"key": (MINUTE, HOUR)})
    assert [keys.hit("key").is_allowed for _ in range(6)] == [True] * 3 + [False] * 3
    assert used(keys.peek("key")) == [3, 3]


def test_a_longer_window_refuses_after_the_shorter_one_has_counted() -> None:
    keys = Counting({"key": (Window(10, 60), HOUR)})
    assert [keys.hit("key").is_allowed for _ in range(7)] == [True] * 5 + [False] * 2
    assert used(keys.peek("key")) == [7, 5]


def test_without_its_redis_it_counts_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    keys = Counting({"key": (MINUTE,)}, "redis://:canary@127.0.0.1:9/0")
    assert [keys.hit("key").is_allowed for _ in range(5)] == [True, True, True, False, False]
    assert used(keys.peek("key")) == [3]
    assert keys.failures == 5
    (lost,) = [record for record in caplog.records if record.name.startswith("codex_api")]
    assert (lost.message, vars(lost)["reason"]) == ("rate_limit_store_lost", "ConnectionError")
    assert "canary" not in str(vars(lost))
