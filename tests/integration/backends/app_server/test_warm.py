"""Warm threads where the child, or the moment, is not what was hoped for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from app.backends.app_server.warm_threads import Demand, WarmLimits, WarmThreads
from app.errors import InvalidRequest
from tests.fakes.app_server import completed
from tests.fakes.waiting import eventually, result
from tests.integration.backends.app_server.stage import (
    REQUEST,
    STANDARD,
    WITH_TOOLS,
    Make,
    Stage,
    follow,
)

REFUSED = {"error": {"code": -32600, "message": "thread not found"}}
WHOLE = [STANDARD, completed()]


@pytest.fixture
def warmed(make: Make) -> Iterator[Callable[..., Stage]]:
    """A child that keeps threads warm; ended with its refill."""
    refills: list[gevent.Greenlet[..., Any]] = []

    def warmed(count: int = 2, *, await_start: bool = True, **on: Any) -> Stage:
        stage = make({"turn/start": [WHOLE], **on})
        stage.shake_hands()
        threads = stage.generation.threads
        threads.warm = WarmThreads(Demand(WarmLimits(count), time.monotonic()))
        refills.append(gevent.spawn(threads.keep_warm, "model-b", lambda: True))
        if await_start:
            eventually(lambda: len(threads.warm) == 1)
        return stage

    yield warmed
    gevent.killall(refills)


def test_a_request_takes_it_with_its_own_model(warmed: Callable[..., Stage]) -> None:
    stage = warmed()
    assert stage.heard("thread/start")[0]["model"] == "model-b"
    turn = stage.begin()
    assert (turn.thread_id, turn.facts.warmth) == ("thread-1", "warm")
    follow(turn)
    assert stage.heard("turn/start")[0]["model"] == REQUEST.model
    eventually(lambda: len(stage.generation.threads.warm) == 1)
    assert [it["model"] for it in stage.heard("thread/start")] == ["model-b", REQUEST.model]
    methods = [it["method"] for it in stage.heard()]
    # The next one is started when the turn has begun.
    assert (
        "thread/start"
        not in methods[methods.index("thread/start") + 1 : methods.index("turn/start")]
    )
    turn.close()


def test_its_tools_are_started_once_they_come_again(warmed: Callable[..., Stage]) -> None:
    stage = warmed()
    for number in range(3):
        turn = stage.begin(WITH_TOOLS)
        follow(turn)
        turn.close()
        expected = number + 1 if number < 1 else 2
        eventually(lambda: len(stage.generation.threads.warm) == expected)  # noqa: B023
    assert turn.facts.warmth == "warm"
    assert stage.generation.threads.histories.shares.used > 0
    stage.generation.threads.stop_warming()
    eventually(lambda: not stage.generation.threads.histories.shares.used)


def test_what_is_set_aside_for_its_tools_goes_with_the_child(warmed: Callable[..., Stage]) -> None:
    stage = warmed()
    for _ in range(2):
        turn = stage.begin(WITH_TOOLS)
        follow(turn)
        turn.close()
    threads = stage.generation.threads
    eventually(lambda: len(threads.warm) == 2)
    stage.generation.kill()
    eventually(lambda: len(threads.warm) == 0)
    eventually(lambda: not threads.histories.shares.used)


@pytest.mark.parametrize("method", ["thread/inject_items", "turn/start"])
def test_one_that_is_lost_costs_time_and_no_request(
    warmed: Callable[..., Stage], method: str
) -> None:
    stage = warmed(**{method: [[REFUSED], WHOLE if method == "turn/start" else [STANDARD]]})
    turn = stage.begin()
    assert (turn.thread_id, turn.facts.warmth) != ("thread-1", "warm")
    assert turn.facts.warmth == "lost"
    follow(turn)
    turn.close()
    assert stage.generation.counters["warm_thread_lost"] == 1
    eventually(lambda: {"threadId": "thread-1"} in stage.heard("thread/unsubscribe"))
    assert stage.given_back == 1


def test_a_request_that_codex_refuses_is_refused_for_itself(
    warmed: Callable[..., Stage],
) -> None:
    stage = warmed(**{"thread/inject_items": [[REFUSED]]})
    assert isinstance(stage.begin_in_vain(), InvalidRequest)
    assert stage.generation.counters["warm_thread_lost"] == 0


def test_a_child_that_starts_none_serves_all_the_same(warmed: Callable[..., Stage]) -> None:
    stage = warmed(await_start=False, **{"thread/start": [[REFUSED], [STANDARD]]})
    eventually(lambda: stage.generation.counters["warm_thread_failed"] == 1)
    turn = stage.begin()
    assert turn.facts.warmth == "cold"
    follow(turn)
    turn.close()
    eventually(lambda: len(stage.generation.threads.warm) == 2)


def test_tools_that_it_starts_none_with_are_in_nobodys_way(warmed: Callable[..., Stage]) -> None:
    # One for nobody, two for requests, and one for tools that came again.
    stage = warmed(**{"thread/start": [[STANDARD], [STANDARD], [STANDARD], [REFUSED], [STANDARD]]})
    threads, failed = stage.generation.threads, stage.generation.counters
    for request, warmth in [
        (WITH_TOOLS, "tools"),
        (WITH_TOOLS, "cold"),
        (REQUEST, "warm"),
        (REQUEST, "warm"),
    ]:
        turn = stage.begin(request)
        assert turn.facts.warmth == warmth
        follow(turn)
        turn.close()
        if warmth == "cold":
            eventually(lambda: failed["warm_thread_failed"] == 1)
        eventually(lambda: len(threads.warm) == 1)
    assert ["dynamicTools" in it for it in stage.heard("thread/start")] == [
        *[False, True, True, True],
        *[False, False],
    ]


def test_a_child_that_retires_gives_them_up(warmed: Callable[..., Stage]) -> None:
    stage = warmed()
    result(gevent.spawn(stage.generation.retire))
    eventually(lambda: stage.heard("thread/unsubscribe") == [{"threadId": "thread-1"}])
    assert len(stage.generation.threads.warm) == 0


def test_so_does_one_that_has_grown_and_for_good(warmed: Callable[..., Stage]) -> None:
    stage = warmed()
    assert stage.generation.threads.give_up_all() == 1
    assert stage.generation.threads.give_up_all() == 0
    turn = stage.begin()
    assert turn.facts.warmth == "off"
    follow(turn)
    turn.close()


def test_what_codex_says_of_one_is_no_oddity(warmed: Callable[..., Stage]) -> None:
    usage = {"threadId": "$thread", "turnId": "t", "tokenUsage": {"total": {}}}
    note = {"emit": {"method": "item/started", "params": usage | {"item": {"id": "i"}}}}
    stage = warmed(**{"thread/start": [[STANDARD, note]]})
    stage.begin().close()
    assert stage.generation.counters["orphan_event"] == 0
