"""Admission among real greenlets: in order, fair between keys, and nothing is given away or lost."""

from __future__ import annotations

import math
import random
import time
from contextlib import suppress
from typing import Any

import gevent
import pytest

from app.backend.admission import Admission, Slot, SlotRequest
from app.backend.engine import Admitted
from app.errors import WorkerBusy
from tests.fakes.waiting import DEADLINE_S, eventually, in_background, outcome, result

SHORT_S = 0.02


def take(admission: Admission, timeout_s: float = 0) -> Slot:
    (slot,) = admission.acquire(timeout_s)
    return slot


def one(greenlet: gevent.Greenlet[..., Any]) -> Slot:
    (slot,) = result(greenlet)
    assert isinstance(slot, Slot)
    return slot


def ask(
    admission: Admission, count: int = 1, timeout_s: float = DEADLINE_S
) -> gevent.Greenlet[..., Any]:
    """Ask for slots from a greenlet of its own; return once it has them or stands in the queue."""
    places = admission.running + admission.waiting
    asking = in_background(admission.acquire, timeout_s, count)
    eventually(lambda: admission.running + admission.waiting > places)
    return asking


def test_free_slots_are_given_at_once() -> None:
    admission = Admission(2, 0)
    slots = [take(admission) for _ in range(2)]
    assert (admission.running, admission.waiting) == (2, 0)
    for slot in slots:
        slot.release()
    assert admission.running == 0


def test_waiters_are_served_in_the_order_they_came() -> None:
    admission = Admission(1, 10)
    slot = take(admission)
    served: list[int] = []

    def serve(number: int) -> None:
        mine = take(admission, DEADLINE_S)
        served.append(number)
        mine.release()

    waiters = []
    for number in range(10):
        waiters.append(in_background(serve, number))
        eventually(lambda number=number: admission.waiting == number + 1)  # type: ignore[misc]
    slot.release()
    assert [result(waiter) for waiter in waiters] == [None] * 10
    assert served == list(range(10))
    assert (admission.running, admission.waiting) == (0, 0)


def test_a_full_queue_refuses_at_once() -> None:
    admission = Admission(1, 1)
    slot = take(admission)
    waiting = ask(admission)
    refused = outcome(admission.acquire, DEADLINE_S)
    assert isinstance(refused, WorkerBusy)
    assert "queue is full" in refused.message
    assert (refused.status, refused.retryable, refused.retry_after_s) == (429, True, 1)
    slot.release()
    one(waiting).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_without_a_queue_there_is_only_now() -> None:
    admission = Admission(1, 0)
    slot = take(admission)
    assert isinstance(outcome(admission.acquire, DEADLINE_S), WorkerBusy)
    slot.release()
    take(admission).release()


def test_a_queue_that_does_not_move_times_out() -> None:
    admission = Admission(1, 5)
    slot = take(admission)
    refused = outcome(admission.acquire, SHORT_S)
    assert isinstance(refused, WorkerBusy)
    assert "in time" in refused.message
    assert (admission.running, admission.waiting) == (1, 0)
    slot.release()
    assert admission.running == 0


def test_a_slot_is_given_back_once_however_often_it_is_released() -> None:
    admission = Admission(2, 5)
    first, second = take(admission), take(admission)
    for _ in range(3):
        first.release()
    assert admission.running == 1
    second.release()
    assert admission.running == 0


def test_a_slot_released_twice_serves_one_waiter_only() -> None:
    admission = Admission(1, 5)
    slot = take(admission)
    first, second = ask(admission), ask(admission)
    slot.release()
    slot.release()
    served = one(first)
    assert (admission.running, admission.waiting) == (1, 1)
    assert not second.ready()
    served.release()
    one(second).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_a_killed_waiter_leaves_the_queue_and_takes_nothing_with_it() -> None:
    admission = Admission(1, 5)
    slot = take(admission)
    first, second = ask(admission), ask(admission)
    first.kill()
    assert (admission.running, admission.waiting) == (1, 1)
    slot.release()
    one(second).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_nobody_overtakes_a_waiter_to_whom_the_slot_was_just_given() -> None:
    admission = Admission(1, 5)
    slot = take(admission)
    waiting = ask(admission)
    slot.release()  # the waiter has not run yet
    late = in_background(admission.acquire, DEADLINE_S)
    mine = one(waiting)
    eventually(lambda: admission.waiting == 1)
    assert not late.ready()
    mine.release()
    one(late).release()


def test_the_limit_holds_under_a_crowd() -> None:
    admission = Admission(3, 100)
    highest = 0
    inside = 0

    def visit() -> None:
        nonlocal highest, inside
        slot = take(admission, DEADLINE_S)
        inside += 1
        highest = max(highest, inside)
        gevent.sleep(0)
        inside -= 1
        slot.release()

    visitors = [in_background(visit) for _ in range(100)]
    assert [result(visitor) for visitor in visitors] == [None] * 100
    assert highest == 3
    assert (admission.running, admission.waiting) == (0, 0)


def test_it_shows_its_state() -> None:
    admission = Admission(1, 5)
    slot = take(admission)
    waiting = ask(admission)
    assert repr(admission) == "<Admission running=1/1 waiting=1>"
    slot.release()
    one(waiting).release()


def test_a_slot_handed_to_a_killed_waiter_goes_to_the_next() -> None:
    admission = Admission(1, 5)
    slot = take(admission)
    first, second = ask(admission), ask(admission)
    first.kill(block=False)  # it dies in the same turn of the loop
    slot.release()
    one(second).release()
    assert (admission.running, admission.waiting) == (0, 0)


# Several slots at once


def release(slots: list[Slot]) -> None:
    for slot in slots:
        slot.release()


def test_several_slots_are_given_at_once_and_back_one_by_one() -> None:
    admission = Admission(3, 0)
    slots = admission.acquire(0, 3)
    assert (len(slots), admission.running) == (3, 3)
    for left in (2, 1, 0):
        slots[left].release()
        slots[left].release()
        assert admission.running == left


def test_it_is_all_slots_or_none() -> None:
    admission = Admission(3, 5)
    slots = admission.acquire(0, 2)
    refused = outcome(admission.acquire, SHORT_S, 2)
    assert isinstance(refused, WorkerBusy)
    assert (admission.running, admission.waiting) == (2, 0)
    waiting = ask(admission, 3)
    slots[0].release()
    assert (admission.running, admission.waiting) == (1, 1)
    slots[1].release()
    assert admission.running == 3
    release(result(waiting))
    assert (admission.running, admission.waiting) == (0, 0)


def test_a_key_that_has_its_share_is_told_so_and_another_is_served() -> None:
    admission = Admission(4, 5, is_split=True)
    for _ in range(3):
        admission.acquire(0, 1, SlotRequest("greedy"))
    refused = outcome(admission.acquire, SHORT_S, 1, SlotRequest("greedy"))
    assert isinstance(refused, WorkerBusy)
    assert "your key has as many turns as it may have" in refused.message
    assert len(admission.acquire(0, 1, SlotRequest("other"))) == 1
    refused = outcome(admission.acquire, SHORT_S, 1, SlotRequest("third"))
    assert "no turn became free" in refused.message


def test_without_a_queue_several_slots_are_refused_whole() -> None:
    admission = Admission(2, 0)
    slot = take(admission)
    assert isinstance(outcome(admission.acquire, DEADLINE_S, 2), WorkerBusy)
    assert admission.running == 1
    slot.release()
    release(admission.acquire(0, 2))


def test_who_needs_little_does_not_overtake_who_needs_much() -> None:
    admission = Admission(3, 5)
    slots = admission.acquire(0, 2)
    much = ask(admission, 3)
    little = ask(admission, 1)
    assert (admission.running, admission.waiting) == (2, 2)  # one slot is free, and kept
    slots[0].release()
    assert (admission.running, admission.waiting) == (1, 2)
    slots[1].release()
    assert (admission.running, admission.waiting) == (3, 1)
    assert not little.ready()
    release(result(much))
    one(little).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_slots_that_become_free_serve_as_many_waiters_as_they_can() -> None:
    admission = Admission(4, 5)
    slots = admission.acquire(0, 4)
    waiters = [ask(admission, count) for count in (2, 1, 2)]
    release(slots[:3])
    assert (admission.running, admission.waiting) == (4, 1)
    served = [result(waiter) for waiter in waiters[:2]]
    assert [len(some) for some in served] == [2, 1]
    assert not waiters[2].ready()
    release(served[0])
    release(result(waiters[2]))
    release([*served[1], slots[3]])
    assert (admission.running, admission.waiting) == (0, 0)


@pytest.mark.parametrize("leaving", ["times out", "is killed"])
def test_who_leaves_the_queue_lets_the_next_one_in(leaving: str) -> None:
    admission = Admission(3, 5)
    slots = admission.acquire(0, 2)
    # Long enough for the others to stand in the queue behind it, whatever else the machine does.
    much = ask(admission, 2, 1.0 if leaving == "times out" else DEADLINE_S)
    little = ask(admission, 1)
    later = ask(admission, 1)
    if leaving == "is killed":
        much.kill()
    mine = one(little)
    assert leaving == "is killed" or isinstance(result(much), WorkerBusy)
    assert (admission.running, admission.waiting) == (3, 1)
    release([mine, *slots])
    one(later).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_slots_handed_to_a_killed_waiter_all_go_on() -> None:
    admission = Admission(2, 5)
    slots = admission.acquire(0, 2)
    much, first, second = ask(admission, 2), ask(admission), ask(admission)
    much.kill(block=False)  # it dies in the same turn of the loop
    release(slots)
    release([one(first), one(second)])
    assert (admission.running, admission.waiting) == (0, 0)


def test_the_limit_and_the_order_hold_under_a_mixed_crowd() -> None:
    admission = Admission(4, 200)
    highest = inside = 0
    came: list[int] = []
    served: list[int] = []
    dice = random.Random(7)

    def visit(number: int, count: int) -> None:
        nonlocal highest, inside
        came.append(number)
        slots = admission.acquire(DEADLINE_S, count)
        served.append(number)
        inside += count
        highest = max(highest, inside)
        gevent.sleep(dice.random() / 1000)
        inside -= count
        release(slots)

    visitors = [in_background(visit, number, dice.randint(1, 4)) for number in range(100)]
    assert [result(visitor) for visitor in visitors] == [None] * 100
    assert highest == 4
    assert served == came
    assert (admission.running, admission.waiting) == (0, 0)


# Several keys


def ask_for(
    admission: Admission, owner: str, timeout_s: float = DEADLINE_S, count: int = 1
) -> gevent.Greenlet[..., Any]:
    """Ask in the name of a key; return once it has its slots, stands in the queue or is refused."""
    asking = in_background(admission.acquire, timeout_s, count, SlotRequest(owner))
    gevent.sleep(0)
    return asking


def test_a_key_that_floods_does_not_keep_another_one_waiting() -> None:
    admission = Admission(1, 100)
    slot = take(admission)
    flood = [ask_for(admission, "a") for _ in range(50)]
    single = ask_for(admission, "b")
    slot.release()
    first = one(flood[0])  # both never had a slot, and this one came before
    first.release()
    one(single).release()
    for waiting in flood[1:]:
        one(waiting).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_who_gives_way_is_told_at_once_and_why() -> None:
    admission = Admission(1, 3)
    slot = take(admission)
    flood = [ask_for(admission, "a") for _ in range(3)]
    single = ask_for(admission, "b")
    refused = result(flood[2])
    assert isinstance(refused, WorkerBusy)
    assert "Your key has the most requests in it" in refused.message
    assert (admission.running, admission.waiting) == (1, 3)
    slot.release()
    for waiting in (flood[0], single, flood[1]):
        one(waiting).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_who_is_killed_after_it_gave_way_takes_nothing_with_it() -> None:
    admission = Admission(1, 1)
    (slot,) = admission.acquire(0, 1, SlotRequest("a"))
    mine = in_background(admission.acquire, DEADLINE_S, 1, SlotRequest("a"))
    gevent.sleep(0)
    other = in_background(admission.acquire, DEADLINE_S, 1, SlotRequest("b"))
    mine.kill(block=False)  # in the same turn of the loop in which it is displaced
    assert isinstance(result(mine), WorkerBusy | gevent.GreenletExit)
    slot.release()
    one(other).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_a_request_with_little_time_left_does_not_wait_longer() -> None:
    admission = Admission(1, 5)
    slot = take(admission)
    for left_s in (SHORT_S, 0, -1):
        refused = outcome(admission.acquire, DEADLINE_S, 1, SlotRequest("a", within_s=left_s))
        assert isinstance(refused, WorkerBusy)
        assert "in time" in refused.message
    slot.release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_slots_go_back_where_something_else_was_missing() -> None:
    admission = Admission(3, 5)
    with suppress(WorkerBusy), Admitted(admission.acquire(0, 2), 0.0):
        assert admission.running == 2
        raise WorkerBusy("something else is full")
    assert admission.running == 0
    with Admitted(admission.acquire(0, 3), 0.0) as admitted:
        pass
    assert admission.running == 3
    admitted.release()
    admitted.release()
    assert admission.running == 0


def test_it_says_how_long_it_will_take() -> None:
    admission = Admission(1, 1)
    slot = take(admission)
    waiting = ask(admission)
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 1.1)
    refused = outcome(admission.acquire, DEADLINE_S)
    took = time.monotonic() - began
    # Nothing became free in that time, and two slots have to.
    assert 3 <= refused.retry_after_s <= math.ceil(2 * took) + 1
    slot.release()
    one(waiting).release()
    slot = take(admission)
    waiting = ask(admission)
    assert outcome(admission.acquire, DEADLINE_S).retry_after_s == 1  # that was another crowd
    slot.release()
    one(waiting).release()


@pytest.mark.parametrize("seed", range(20))
def test_whoever_is_cut_short_at_any_moment_loses_no_slot(seed: int) -> None:
    """Greenlets are killed, time out or are displaced between any two steps of the loop."""
    admission = Admission(4, 12)
    dice = random.Random(seed)

    def visit(owner: str, count: int) -> None:
        slots = admission.acquire(dice.choice((0, 0.001, DEADLINE_S)), count, SlotRequest(owner))
        try:
            for _ in range(dice.randrange(4)):
                gevent.sleep(0)
            assert 0 < admission.running <= 4
        finally:
            release(slots)
            release(slots)

    visitors = [
        in_background(visit, dice.choice("aaaabbc"), dice.randint(1, 4)) for _ in range(150)
    ]
    while not all(visitor.ready() for visitor in visitors):
        for _ in range(dice.randrange(3)):
            dice.choice(visitors).kill(block=False)
        gevent.sleep(0)
        assert admission.running <= 4
        assert admission.waiting <= 12
    told = [visitor.value for visitor in visitors]
    assert {type(each) for each in told} <= {type(None), WorkerBusy, gevent.GreenletExit}
    assert None in told
    assert (admission.running, admission.waiting) == (0, 0)
    release(admission.acquire(0, 4))
