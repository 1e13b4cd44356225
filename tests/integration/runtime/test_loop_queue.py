"""The queue for the event loop, over a real loop: what comes for others is seen between two turns of one caller."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from gevent import socket

from app.runtime.loop_queue import SLICE_S, LoopQueue
from tests.fakes.waiting import in_background, result


class Clock:
    """Time that passes where the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def visit(queue: LoopQueue, line: Hashable, work: Callable[[], None], times: int = 1) -> None:
    for _ in range(times):
        queue.wait(line)
        work()


def test_data_for_another_is_seen_between_two_turns_of_one_caller() -> None:
    clock, seen = Clock(), list[str]()
    queue = LoopQueue(clock)
    ours, theirs = socket.socketpair()

    def work() -> None:
        seen.append("work")
        clock.now += SLICE_S
        if len(seen) == 3:
            theirs.send(b".")  # from now on the other could go on

    def other() -> None:
        ours.recv(1)
        seen.append("other")

    with ours, theirs:
        reading = in_background(other)
        greedy = [in_background(visit, queue, "greedy", work, 20) for _ in range(3)]
        for greenlet in (reading, *greedy):
            result(greenlet)
    assert seen.count("work") == 60
    assert seen.index("other") <= 6


def test_a_line_has_several_of_its_own_in_one_turn_where_they_are_quick() -> None:
    clock, turns = Clock(), list[int]()
    queue = LoopQueue(clock)

    def quick() -> None:
        clock.now += SLICE_S / 4
        turns.append(len(marks))

    def mark() -> None:
        clock.now += SLICE_S
        marks.append(".")

    marks: list[str] = []
    greedy = [in_background(visit, queue, "quick", quick) for _ in range(13)]
    marking = in_background(visit, queue, "marks", mark, 20)
    for greenlet in (*greedy, marking):
        result(greenlet)
    # The very first comes at once, and the turn after that has a slice already.
    assert [turns.count(turn) for turn in range(3)] == [5, 4, 4]


def test_lines_do_not_wait_for_each_other_and_each_is_served_in_order() -> None:
    clock, seen = Clock(), list[str]()
    queue = LoopQueue(clock)

    def work(name: str) -> Callable[[], None]:
        def note() -> None:
            clock.now += SLICE_S
            seen.append(name)

        return note

    many = [in_background(visit, queue, "many", work(f"many {n}")) for n in range(9)]
    one = in_background(visit, queue, "one", work("one"))
    for greenlet in (*many, one):
        result(greenlet)
    assert [name for name in seen if name != "one"] == [f"many {n}" for n in range(9)]
    assert seen.index("one") <= 2


def test_one_that_gives_up_its_place_holds_up_nobody() -> None:
    clock, seen = Clock(), list[str]()
    queue = LoopQueue(clock)
    waiting = [in_background(visit, queue, "line", lambda: seen.append(".")) for _ in range(3)]
    in_background(waiting[1].kill)
    for greenlet in (waiting[0], waiting[2]):
        result(greenlet)
    assert seen == [".", "."]
    assert repr(queue) == "<LoopQueue {}>"
