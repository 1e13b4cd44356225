"""Requests counted by Flask-Limiter, in memory, asked as the edge asks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.http.limit_store import LimitStore
from app.http.rate_limit_headers import Verdict
from app.setting_values import Window

MINUTE, HOUR = Window(3, 60), Window(5, 3600)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for timer in set(threading.enumerate()) - before:
        timer.join(5)
        assert not timer.is_alive()


class Asked:
    """A store behind a route, since it counts only while a request is served."""

    def __init__(self, windows: Mapping[str, tuple[Window, ...]]) -> None:
        self.app = Flask("test", static_folder=None)
        self.failures: list[None] = []
        self.store = LimitStore(self.app, "memory://", windows, lambda: self.failures.append(None))
        self.answers: list[Verdict | None] = []
        self.add("/take/<path:name>", self.store.take)
        self.add("/look/<path:name>", self.store.look)
        self.add("/other/<path:name>", lambda _: None)

    def add(self, rule: str, ask: Callable[[str], Verdict | None]) -> None:
        def view(name: str) -> str:
            self.answers.append(ask(name))
            return "text"

        self.app.add_url_rule(rule, rule, view)

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def __call__(self, path: str) -> Verdict | None:
        assert self.client().get(path).status_code == 200
        return self.answers.pop()

    def allows(self, path: str) -> bool:
        verdict = self(path)
        assert verdict is not None
        return verdict.is_allowed

    def used(self, path: str) -> list[int]:
        verdict = self(path)
        assert verdict is not None
        return [reading.used for reading in verdict.readings]


def test_one_more_than_the_limit_is_refused() -> None:
    asked = Asked({"key": (MINUTE,)})
    assert [asked.allows("/take/key") for _ in range(5)] == [True, True, True, False, False]
    assert asked.used("/take/key") == [3]
    assert asked.failures == []


def test_a_reading_says_when_the_oldest_request_leaves() -> None:
    asked = Asked({"key": (MINUTE,)})
    before = time.time()
    for used in (1, 2, 3, 3):
        verdict = asked("/take/key")
        assert verdict is not None
        (reading,) = verdict.readings
        assert (reading.window, reading.used) == (MINUTE, used)
        assert 60 - (time.time() - before) <= reading.resets_s <= 60
        assert reading.frees_s == (reading.resets_s if used == 3 else 0)


def test_looking_counts_nothing() -> None:
    asked = Asked({"key": (MINUTE,)})
    untouched = asked("/look/key")
    assert untouched is not None
    assert (untouched.readings[0].used, untouched.readings[0].resets_s) == (0, 0)
    assert [asked.used("/look/key") for _ in range(3)] == [[0]] * 3
    asked("/take/key")
    assert [asked.used("/look/key") for _ in range(3)] == [[1]] * 3


def test_a_request_that_asks_for_nothing_is_not_counted() -> None:
    asked = Asked({"key": (MINUTE,)})
    asked("/take/key")  # from now on the library knows that this route counts
    for _ in range(5):
        asked("/other/key")
    assert asked.used("/look/key") == [1]


def test_keys_are_counted_apart() -> None:
    asked = Asked({"a": (MINUTE,), "b": (MINUTE,), "none": ()})
    assert [asked.used(f"/take/{name}") for name in ("a", "b", "a")] == [[1], [1], [2]]
    for path in ("/take/none", "/look/none", "/take/unknown", "/look/unknown"):
        assert asked(path) is None


@pytest.mark.parametrize("name", ["a/requests/3/60/second", "a b", "ä", "1", "a:b{c}%"])
def test_any_name_of_a_key_is_a_key_of_its_own(name: str) -> None:
    asked = Asked({"a": (MINUTE,), name: (MINUTE,)})
    for used in (1, 2):
        for key in ("a", name):
            assert asked.used(f"/take/{quote(key, safe='')}") == [used]


def test_the_shorter_window_is_asked_first_and_spares_the_longer_one() -> None:
    asked = Asked({"key": (MINUTE, HOUR)})
    assert [asked.allows("/take/key") for _ in range(6)] == [True] * 3 + [False] * 3
    assert asked.used("/look/key") == [3, 3]


def test_a_longer_window_refuses_after_the_shorter_one_has_counted() -> None:
    asked = Asked({"key": (Window(10, 60), HOUR)})
    assert [asked.allows("/take/key") for _ in range(7)] == [True] * 5 + [False] * 2
    assert asked.used("/look/key") == [7, 5]
