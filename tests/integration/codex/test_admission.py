"""Admission among real greenlets: first come, first served, and nothing is given away or lost."""

from __future__ import annotations

from typing import Any

import gevent

from app.codex.admission import Admission, Slot
from app.errors import WorkerBusy
from tests.fakes.waiting import DEADLINE_S, eventually, in_background, outcome, result

SHORT_S = 0.02


def ask(admission: Admission, timeout_s: float = DEADLINE_S) -> gevent.Greenlet[..., Any]:
    """Ask for a slot from a greenlet of its own; return once it has one or stands in the queue."""
    places = admission.running + admission.waiting
    asking = in_background(admission.acquire, timeout_s)
    eventually(lambda: admission.running + admission.waiting > places)
    return asking


def test_free_slots_are_given_at_once() -> None:
    admission = Admission(2, 0)
    slots = [admission.acquire(0) for _ in range(2)]
    assert (admission.running, admission.waiting) == (2, 0)
    for slot in slots:
        slot.release()
    assert admission.running == 0


def test_waiters_are_served_in_the_order_they_came() -> None:
    admission = Admission(1, 10)
    slot = admission.acquire(0)
    served: list[int] = []

    def serve(number: int) -> None:
        mine = admission.acquire(DEADLINE_S)
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
    slot = admission.acquire(0)
    waiting = ask(admission)
    refused = outcome(admission.acquire, DEADLINE_S)
    assert isinstance(refused, WorkerBusy)
    assert "queue is full" in refused.message
    assert (refused.status, refused.retryable, refused.retry_after_s) == (429, True, 1)
    slot.release()
    result(waiting).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_without_a_queue_there_is_only_now() -> None:
    admission = Admission(1, 0)
    slot = admission.acquire(0)
    assert isinstance(outcome(admission.acquire, DEADLINE_S), WorkerBusy)
    slot.release()
    admission.acquire(0).release()


def test_a_queue_that_does_not_move_times_out() -> None:
    admission = Admission(1, 5)
    slot = admission.acquire(0)
    refused = outcome(admission.acquire, SHORT_S)
    assert isinstance(refused, WorkerBusy)
    assert "in time" in refused.message
    assert (admission.running, admission.waiting) == (1, 0)
    slot.release()
    assert admission.running == 0


def test_a_slot_is_given_back_once_however_often_it_is_released() -> None:
    admission = Admission(2, 5)
    first, second = admission.acquire(0), admission.acquire(0)
    for _ in range(3):
        first.release()
    assert admission.running == 1
    second.release()
    assert admission.running == 0


def test_a_slot_released_twice_serves_one_waiter_only() -> None:
    admission = Admission(1, 5)
    slot = admission.acquire(0)
    first, second = ask(admission), ask(admission)
    slot.release()
    slot.release()
    served = result(first)
    assert isinstance(served, Slot)
    assert (admission.running, admission.waiting) == (1, 1)
    assert not second.ready()
    served.release()
    result(second).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_a_killed_waiter_leaves_the_queue_and_takes_nothing_with_it() -> None:
    admission = Admission(1, 5)
    slot = admission.acquire(0)
    first, second = ask(admission), ask(admission)
    first.kill()
    assert (admission.running, admission.waiting) == (1, 1)
    slot.release()
    result(second).release()
    assert (admission.running, admission.waiting) == (0, 0)


def test_nobody_overtakes_a_waiter_to_whom_the_slot_was_just_given() -> None:
    admission = Admission(1, 5)
    slot = admission.acquire(0)
    waiting = ask(admission)
    slot.release()  # the waiter has not run yet
    late = in_background(admission.acquire, DEADLINE_S)
    mine = result(waiting)
    assert isinstance(mine, Slot)
    eventually(lambda: admission.waiting == 1)
    assert not late.ready()
    mine.release()
    result(late).release()


def test_the_limit_holds_under_a_crowd() -> None:
    admission = Admission(3, 100)
    highest = 0
    inside = 0

    def visit() -> None:
        nonlocal highest, inside
        slot = admission.acquire(DEADLINE_S)
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
    slot = admission.acquire(0)
    waiting = ask(admission)
    assert repr(admission) == "<Admission running=1/1 waiting=1>"
    slot.release()
    result(waiting).release()


def test_a_slot_handed_to_a_killed_waiter_goes_to_the_next() -> None:
    admission = Admission(1, 5)
    slot = admission.acquire(0)
    first, second = ask(admission), ask(admission)
    first.kill(block=False)  # it dies in the same turn of the loop
    slot.release()
    result(second).release()
    assert (admission.running, admission.waiting) == (0, 0)
