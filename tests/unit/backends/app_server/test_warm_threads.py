"""Warm threads: how many wait, for whom, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from app.backend.protocols import WARMTHS
from app.backend.request import TurnRequest
from app.backends.app_server.history import history_budget
from app.backends.app_server.parse_events import ThreadId
from app.backends.app_server.thread import terms_of
from app.backends.app_server.warm_threads import (
    LARGEST_LIST,
    MOST_LISTS,
    NO_TOOLS,
    OFF,
    Demand,
    Kind,
    WarmLimits,
    Warmth,
    WarmThread,
    WarmThreads,
    kind_of,
)

LIMITS = WarmLimits(count=4, spare_s=600.0, quiet_s=3600.0)


class Child:
    """Warm threads, and whoever starts and asks for them."""

    def __init__(self, limits: WarmLimits = LIMITS, demand: Demand | None = None) -> None:
        self.demand = demand or Demand(limits, 0.0)
        self.warm = WarmThreads(self.demand)
        self._count = 0

    def ask(self, now: float = 0.0, owner: str = "key", size: int = 0, **more: Any) -> str | Warmth:
        request = TurnRequest(**{"model": "m", "items": (), **more})
        terms, offered = terms_of(request, owner)
        found = self.warm.take(request, terms, max(size, offered), now)
        return found if isinstance(found, Warmth) else found.take()

    def refill(self, now: float = 0.0) -> list[Kind]:
        """Start what is needed; return of which kinds that was."""
        kinds: list[Kind] = []
        while (kind := self.warm.needed(now)) is not None:
            kinds.append(kind)
            self._count += 1
            thread = WarmThread(ThreadId(f"t{self._count}"), kind, now)
            assert self.warm.add(thread) == []
        return kinds


def offering(name: str, **more: Any) -> dict[str, Any]:
    return {"tools": ({"type": "function", "name": name},), **more}


def test_the_words_for_what_was_found_are_those_of_the_metrics() -> None:
    assert {found.value for found in Warmth} == set(WARMTHS)


def test_the_first_request_finds_one() -> None:
    child = Child()
    assert child.refill() == [NO_TOOLS]
    assert child.ask() == "t1"
    assert child.ask() is Warmth.COLD


@pytest.mark.parametrize(
    "request_of_another",
    [
        {"model": "n"},
        {"owner": "other"},
        {"effort": "high", "summary": "auto", "service_tier": "priority"},
        {"output_schema": {"type": "object"}, "size": 10 * LARGEST_LIST},
    ],
)
def test_one_without_tools_serves_any_request_without_them(
    request_of_another: dict[str, Any],
) -> None:
    child = Child()
    child.refill()
    assert child.ask(**request_of_another) == "t1"


def test_a_verbosity_is_fixed_with_the_thread() -> None:
    child = Child()
    child.refill()
    assert child.ask(verbosity="low") is Warmth.VERBOSITY
    assert child.ask() == "t1"


def test_nothing_is_held_where_none_may_be() -> None:
    for demand in (OFF, Demand(WarmLimits(count=0), 0.0)):
        child = Child(demand=demand)
        assert child.ask() is Warmth.OFF
        assert child.refill() == []


# How many


def test_there_is_one_more_whenever_there_was_none() -> None:
    child = Child()
    sizes = []
    for _ in range(6):
        child.refill()
        sizes.append(len(child.warm))
        while child.ask() is not Warmth.COLD:
            pass
    assert sizes == [1, 2, 3, 4, 4, 4]


def test_one_that_is_not_needed_for_long_is_given_up_and_the_last_one_stays() -> None:
    child = Child()
    child.refill()
    for _ in range(3):
        child.ask()
    child.refill()
    assert len(child.warm) == 3
    gone = [[it.thread_id for it in child.warm.expire(now)] for now in (599, 600, 630, 660)]
    assert gone == [[], ["t2"], ["t3"], []]
    assert child.refill(now=660) == []
    assert child.ask(now=661) == "t4"


def test_a_burst_is_not_remembered_for_longer_because_it_was_large() -> None:
    child = Child()
    for _ in range(20):
        child.ask()
    child.refill()
    assert (len(child.warm), len(child.warm.expire(now=600))) == (LIMITS.count, 1)


def test_the_latest_is_taken_so_that_what_is_too_many_grows_old() -> None:
    child = Child()
    child.refill()
    for _ in range(3):
        child.ask()
    child.refill()
    assert child.ask(now=500) == "t4"
    child.refill(now=500)
    assert [it.thread_id for it in child.warm.expire(now=600)] == ["t2"]


def test_after_a_quiet_time_there_is_none_until_a_request_comes() -> None:
    child = Child()
    child.refill()
    assert child.warm.expire(now=3599) == []
    assert [it.thread_id for it in child.warm.expire(now=3600)] == ["t1"]
    assert child.refill(now=3600) == []
    assert child.ask(now=9000) is Warmth.COLD
    assert child.refill(now=9000) == [NO_TOOLS]


def test_what_was_asked_for_is_known_to_the_next_child() -> None:
    child = Child()
    child.refill()
    for model in ("a", "b", "c"):
        child.ask(model=model)
    other = Child(demand=child.demand)
    assert len(other.refill()) == 3
    assert child.demand.start_of(NO_TOOLS, "first").model == "c"
    assert Demand(LIMITS, 0.0).start_of(NO_TOOLS, "first").model == "first"


def test_a_child_that_is_given_up_takes_none_any_more() -> None:
    child = Child()
    child.refill()
    assert [it.thread_id for it in child.warm.stop()] == ["t1"]
    late = WarmThread(ThreadId("late"), NO_TOOLS, 0.0)
    assert child.warm.add(late) == [late]
    assert (child.refill(), child.ask()) == ([], Warmth.OFF)


def test_what_was_started_before_may_be_of_no_use_any_more() -> None:
    child = Child()
    child.refill()
    assert [it.thread_id for it in child.warm.clear(5.0)] == ["t1"]
    late = WarmThread(ThreadId("late"), NO_TOOLS, 4.0)
    assert child.warm.add(late) == [late]
    assert child.refill(now=6) == [NO_TOOLS]
    assert child.ask(now=7) == "t2"


# Lists of tools


def test_a_list_of_tools_is_worth_a_thread_once_it_has_come_again() -> None:
    child = Child()
    assert child.ask(**offering("f")) is Warmth.TOOLS
    assert child.refill() == [NO_TOOLS]
    assert child.ask(**offering("f")) is Warmth.COLD
    assert [kind.owner for kind in child.refill()] == ["key"]
    assert child.ask(**offering("g")) is Warmth.TOOLS
    assert child.ask(**offering("f"), effort="high") == "t2"


def test_a_list_that_comes_again_after_a_quiet_time_is_a_new_one() -> None:
    child = Child()
    assert child.ask(**offering("f")) is Warmth.TOOLS
    assert child.ask(now=3600, **offering("f")) is Warmth.TOOLS
    assert child.ask(now=3601, **offering("f")) is Warmth.COLD


def test_the_tools_of_one_key_are_not_for_another() -> None:
    child = Child()
    for _ in range(2):
        child.ask(**offering("f"))
    child.refill()
    assert child.ask(owner="other", **offering("f")) is Warmth.TOOLS
    assert child.ask(owner="other", **offering("f")) is Warmth.COLD
    assert child.ask(**offering("f")) == "t1"  # asked for last, and so started first


def test_a_thread_with_tools_is_not_for_a_request_without() -> None:
    child = Child()
    for _ in range(2):
        child.ask(**offering("f"))
    child.refill()
    assert child.ask() == "t2"
    assert child.ask() is Warmth.COLD


def test_a_thread_is_started_with_the_tools_that_came_again() -> None:
    child = Child()
    request = TurnRequest("m", (), **offering("f"))
    kind = kind_of(terms_of(request, "key")[0])
    for _ in range(2):
        child.ask(**offering("f"))
    assert child.demand.start_of(kind, "first") == request


def test_a_long_list_is_not_held() -> None:
    child = Child()
    for _ in range(3):
        assert child.ask(**offering("f"), size=LARGEST_LIST + 1) is Warmth.TOOLS
    assert child.refill() == [NO_TOOLS]


def test_each_kind_has_one_before_any_has_two() -> None:
    child = Child()
    for now, name in enumerate("abcde"):
        for _ in range(3):
            child.ask(now=now, **offering(name))
    kinds = child.refill(now=5)
    assert len(set(kinds)) == len(kinds) == LIMITS.count
    assert kinds[0].owner == "key"  # what was asked for last comes first


def test_the_lists_of_one_key_are_not_in_the_way_of_others() -> None:
    child = Child()
    for _ in range(2):
        child.ask(owner="other", **offering("f"))
    for number in range(2 * MOST_LISTS):
        for _ in range(2):
            child.ask(now=1, **offering(f"f{number}"))
    owners = [kind.owner for kind in child.refill(now=1)]
    assert sorted(owners) == ["", *["key"] * (LIMITS.count - 2), "other"]
    assert child.ask(now=1, owner="other", **offering("f")) not in list(Warmth)


def test_what_makes_room_is_what_is_too_many() -> None:
    child = Child()
    child.refill()
    for _ in range(8):
        child.ask()
    child.refill()
    assert len(child.warm) == LIMITS.count
    for _ in range(2):
        child.ask(now=1, **offering("f"))
    assert child.refill(now=1) == []
    assert len(child.warm.expire(now=1)) == 1
    assert [kind.owner for kind in child.refill(now=1)] == ["key"]


def test_few_lists_are_remembered() -> None:
    child = Child()
    for number in range(MOST_LISTS):  # and there is always the one of no tools
        child.ask(**offering(f"f{number}"))
    assert child.ask(**offering("f1")) is Warmth.COLD
    assert child.ask(**offering("f0")) is Warmth.TOOLS


def test_what_is_set_aside_for_tools_is_given_back() -> None:
    histories = history_budget()
    held = histories.reserve("key", 100)
    thread = WarmThread(ThreadId("t"), NO_TOOLS, 0.0, held=held)
    assert thread.take() == "t"
    assert histories.shares.used == 0
