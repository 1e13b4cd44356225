"""Alarms on a real loop: they ring in time and in order, and a cancelled one does not."""

from __future__ import annotations

import time

import gevent

from app.alarms import Alarms
from tests.fakes.waiting import eventually

SHORT_S = 0.02
LONG_S = 600.0


def test_alarms_ring_in_the_order_of_their_moments_and_never_early() -> None:
    alarms, rung = Alarms(), list[tuple[str, float]]()
    began = time.monotonic()
    for name, in_s in (("long", LONG_S), ("c", 3 * SHORT_S), ("a", SHORT_S), ("b", 2 * SHORT_S)):
        alarms.set(in_s, lambda name=name: rung.append((name, time.monotonic() - began)))  # type: ignore[misc]
    eventually(lambda: len(rung) == 3)
    assert [name for name, _ in rung] == ["a", "b", "c"]
    assert all(after >= (place + 1) * SHORT_S for place, (_, after) in enumerate(rung))


def test_one_that_is_cancelled_does_not_ring() -> None:
    alarms, rung = Alarms(), list[str]()
    first = alarms.set(SHORT_S, lambda: rung.append("first"))
    alarms.set(2 * SHORT_S, lambda: rung.append("second"))
    first.cancel()
    first.cancel()
    eventually(lambda: rung)
    assert rung == ["second"]


def test_one_that_rings_may_set_another() -> None:
    alarms, rung = Alarms(), list[str]()

    def ring() -> None:
        rung.append("first")
        alarms.set(SHORT_S, lambda: rung.append("second"))

    alarms.set(0.0, ring)
    eventually(lambda: rung == ["first", "second"])


def test_one_may_interrupt_a_greenlet_which_goes_on() -> None:
    alarms, seen = Alarms(), list[str]()

    def wait() -> None:
        try:
            gevent.sleep(LONG_S)
        except TimeoutError:
            seen.append("interrupted")
            gevent.sleep(SHORT_S)
            seen.append("went on")

    waiting = gevent.spawn(wait)
    gevent.sleep(0)
    alarms.set(SHORT_S, lambda: waiting.throw(TimeoutError()))
    eventually(lambda: seen == ["interrupted", "went on"])


def test_cancelled_ones_do_not_pile_up() -> None:
    alarms = Alarms()
    kept = [alarms.set(LONG_S, list) for _ in range(10)]
    for _ in range(10_000):
        alarms.set(LONG_S, list).cancel()
    assert len(alarms) < 100
    assert all(alarm.ring is not None for alarm in kept)
