"""Kept threads where the child, or the moment, is not what was hoped for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gevent
import pytest

from app.backend.lease import Lease
from app.backend.observer import NullObserver, TurnFacts
from app.backend.request import TurnRequest
from app.backends.app_server.turn import Turn
from app.errors import WorkerLost
from tests.fakes.app_server import completed
from tests.fakes.waiting import deadline, eventually, in_background, result
from tests.integration.backends.app_server.stage import (
    REQUEST,
    RESPONSE,
    STANDARD,
    WITH_TOOLS,
    Make,
    Stage,
    begin,
    raw_call,
    tool_call,
)

CALL = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "a"}
RESULT = {"type": "function_call_output", "call_id": "a", "output": "42"}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}
RESULTS = replace(WITH_TOOLS, items=(*REQUEST.items, CALL, RESULT))
MORE = replace(REQUEST, items=(*REQUEST.items, SAID, *REQUEST.items))
CALLS = [STANDARD, raw_call("a"), tool_call("a"), RESPONSE]
WHOLE = [
    STANDARD,
    {
        "emit": {
            "method": "rawResponseItem/completed",
            "params": {"threadId": "$thread", "turnId": "$turn", "item": SAID},
        }
    },
    completed(),
]
REFUSED = {"error": {"code": -32600, "message": "thread not found"}}


@pytest.fixture
def keep(make: Make) -> Iterator[Callable[..., Stage]]:
    """A child, after a first turn that was kept. Nothing is set aside for it in the end."""
    stages: list[Stage] = []

    def keep(request: TurnRequest, answer: list[Any], **on: Any) -> Stage:
        stage = make({"turn/start": [answer, WHOLE], **on}, parked_s=1000)
        stages.append(stage)
        stage.shake_hands()
        turn = stage.begin(request)
        thread = stage.generation.threads.get_any(turn.thread_id)
        assert thread is not None
        eventually(lambda: thread.is_worth_keeping)
        turn.close()
        eventually(lambda: len(stage.generation.threads.kept) == 1)
        return stage

    yield keep
    for stage in stages:
        eventually(lambda: not stage.generation.threads.histories.shares.used)  # noqa: B023


def test_results_for_a_child_that_has_just_gone_are_not_waited_for(
    keep: Callable[..., Stage],
) -> None:
    stage = keep(WITH_TOOLS, CALLS)
    asking = in_background(begin, stage.generation, RESULTS, Lease())
    while len(stage.generation.threads.kept):
        gevent.sleep(0)
    stage.generation.channel.close()
    assert isinstance(result(asking).facts.error, WorkerLost)
    eventually(lambda: len(stage.generation.threads) == 0)


def test_nobody_waits_for_calls_whose_results_were_given(keep: Callable[..., Stage]) -> None:
    stage = keep(WITH_TOOLS, CALLS)
    assert len(stage.generation.threads.cleanup) == 1
    turn = stage.begin(RESULTS)
    assert turn.origin.lookup == "kept"
    eventually(lambda: len(stage.generation.threads.cleanup) == 0)
    turn.close()
    stage.await_unsubscribed()


def test_a_child_that_is_replaced_finishes_a_turn_that_is_being_begun(make: Make) -> None:
    stage = make({"turn/start": [WHOLE]})
    stage.shake_hands()
    asking = in_background(stage.begin, REQUEST)
    while not stage.generation.threads.cleanup:
        gevent.sleep(0)
    gevent.sleep(0)  # it has begun, and the child has not answered
    with deadline():
        stage.generation.retire()
    assert len(stage.heard("turn/start")) == 1
    turn = result(asking)
    assert isinstance(turn, Turn)
    assert turn.ended.is_set()


class Observer(NullObserver):
    """Remembers which turn it was told of, and whether that is over."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def began(self, facts: TurnFacts) -> None:
        self.told.append(facts.lookup)

    def closed(self, facts: TurnFacts) -> None:
        self.told.append("closed")


def test_a_turn_in_place_of_a_kept_one_has_an_observer_of_its_own(
    keep: Callable[..., Stage],
) -> None:
    stage = keep(REQUEST, WHOLE, **{"thread/inject_items": [[STANDARD], [REFUSED], [STANDARD]]})
    observers: list[Observer] = []

    def observe() -> Observer:
        observers.append(Observer())
        return observers[-1]

    with deadline():
        turn = stage.generation.threads.begin(MORE, Lease(), observe)
        turn.ended.wait()
    assert turn.origin.lookup == "lost"
    # Once for the thread that is given up, once for the turn on it, which was asked for in the same write.
    stage.await_heard("thread/unsubscribe", 2)
    eventually(lambda: observers[0].told[-1] == "closed")
    assert [one.told for one in observers] == [["kept", "closed"], ["lost", "closed"]]
    assert stage.generation.threads.kept.evicted == {}
