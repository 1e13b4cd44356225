"""When something outside may be tried again."""

from __future__ import annotations

from app.outage import Outage


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_an_outage_everybody_may() -> None:
    outage = Outage(Clock())
    assert [outage.may_try() for _ in range(3)] == [True] * 3
    assert outage.note_success() is False
    assert not outage.is_on


def test_in_one_a_single_attempt_is_made_after_each_pause_and_they_grow() -> None:
    clock = Clock()
    outage = Outage(clock)
    assert outage.note_failure() is True
    attempts = []
    for _ in range(1000):
        clock.now += 0.25
        if outage.may_try():
            attempts.append(clock.now - 100)
            assert outage.note_failure() is False
    assert attempts == [1, 3, 7, 15, 31, 63, 95, 127, 159, 191, 223]


def test_it_ends_with_a_success_and_the_next_one_begins_anew() -> None:
    clock = Clock()
    outage = Outage(clock)
    outage.note_failure()
    clock.now += 1
    assert outage.may_try()
    assert outage.note_success() is True
    assert outage.may_try()
    assert outage.note_failure() is True
    clock.now += 1
    assert outage.may_try()
