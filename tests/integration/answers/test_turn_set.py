"""Several turns followed as one, among real greenlets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gevent
import pytest

from app.answers.turn_set import Batch, TurnSet
from app.backend.events import Event, TextDelta, TurnEnded, TurnStatus
from app.backend.observer import TurnState
from app.backend.protocols import Pace
from app.backends.app_server.parse_events import ThreadId, TurnId
from app.backends.app_server.turn import Turn
from app.errors import Draining, GatewayError, SlowReader, WorkerLost, WorkerTimeout
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, in_background, outcome, result

PATIENT = Pace(first_s=DEADLINE_S, total_s=DEADLINE_S, commit_s=DEADLINE_S, tick_s=DEADLINE_S)
SHORT_S = 0.02
DONE = TurnEnded(TurnStatus.COMPLETED)


def said(text: str) -> TextDelta:
    return TextDelta("item-1", text)


class Playbook:
    """Turns, the set that follows them, and which were closed."""

    def __init__(self, count: int, pace: Pace = PATIENT) -> None:
        self.closings: list[Turn] = []
        self.turns = [self.make(f"thread-{number}") for number in range(count)]
        self.turn_set = TurnSet(list(self.turns), pace)

    def make(self, name: str) -> Turn:
        turn = Turn(ThreadId(name), 7, self.closings.append)
        turn.begin(TurnId(f"turn-of-{name}"))
        return turn

    def turn(self, index: int) -> Turn:
        """Return the turn that answers this choice now."""
        turn = self.turn_set.turns[index]
        assert isinstance(turn, Turn)
        return turn

    def replace(self, index: int) -> None:
        """Do what an answer does with a turn that has to be taken up anew."""
        self.turn_set.turns[index].close()
        self.turn_set.put(index, self.make("again"))

    def deliver(self, index: int, *events: Event) -> None:
        tell(self.turn(index), *events)

    def batches(self) -> Iterator[Batch]:
        return self.turn_set.follow()


def tell(turn: Turn, *events: Event) -> None:
    assert turn.turn_id is not None
    for event in events:
        turn.deliver(turn.turn_id, event)


def read(batches: Iterator[Batch]) -> dict[int, list[Event]]:
    """Follow to the end; return the events of each choice."""
    seen: dict[int, list[Event]] = {}
    with deadline():
        for index, events in batches:
            assert isinstance(events, list)
            seen.setdefault(index, []).extend(events)
    return seen


def settle() -> None:
    """Let every greenlet run until it waits for something that is not there."""
    for _ in range(20):
        gevent.sleep(0)


def step(batches: Iterator[Batch]) -> Any:
    with deadline():
        return outcome(next, batches)


@pytest.fixture
def play() -> Iterator[Callable[..., Playbook]]:
    books: list[Playbook] = []

    def play(count: int, pace: Pace = PATIENT) -> Playbook:
        books.append(Playbook(count, pace))
        return books[-1]

    yield play
    for book in books:
        book.turn_set.close()
        for index in range(len(book.turn_set.turns)):
            assert book.closings.count(book.turn(index)) == 1


Play = Callable[..., Playbook]


# One choice


def test_one_turn_is_followed_to_its_end(play: Play) -> None:
    book = play(1)
    book.deliver(0, said("a"), said("b"), DONE)
    assert read(book.batches()) == {0: [said("a"), said("b"), DONE]}


def test_one_turn_needs_no_greenlet(play: Play) -> None:
    book = play(1)
    batches = book.batches()
    book.deliver(0, said("a"))
    assert step(batches) == (0, [said("a")])
    assert len(book.turn_set._pumps) == 0


def test_the_quiet_ticks_of_one_turn_are_seen(play: Play) -> None:
    book = play(1, replace(PATIENT, commit_s=SHORT_S, tick_s=SHORT_S))
    batches = book.batches()
    assert [step(batches), step(batches)] == [(0, []), (0, [])]


def test_the_error_of_one_turn_is_told(play: Play) -> None:
    book = play(1)
    book.deliver(0, said("a"))
    error = Draining("soon")
    book.turn(0).fail(error)
    batches = book.batches()
    assert step(batches) == (0, [said("a")])
    assert step(batches) == (0, error)
    assert isinstance(step(batches), StopIteration)


@pytest.mark.parametrize("count", [1, 2])
def test_a_turn_that_failed_can_be_replaced(play: Play, count: int) -> None:
    book = play(count)
    for index in range(1, count):
        book.deliver(index, DONE)
    batches = book.batches()
    for _ in range(1, count):
        step(batches)
    waiting = in_background(next, batches)
    gevent.sleep(0)
    error = WorkerLost("gone")
    book.turn(0).fail(error)
    assert result(waiting) == (0, error)
    book.replace(0)
    book.deliver(0, said("a"), DONE)
    assert read(batches) == {0: [said("a"), DONE]}


def test_a_turn_that_has_done_its_part_ends_the_answer(play: Play) -> None:
    book = play(1)
    batches = book.batches()
    book.deliver(0, said("a"))
    assert step(batches) == (0, [said("a")])
    book.turn_set.close_one(0)
    assert isinstance(step(batches), StopIteration)
    assert book.turn(0).state is TurnState.ABANDONED


# Asking again


def test_a_turn_that_is_asked_again_is_replaced(play: Play) -> None:
    book = play(1)
    book.deliver(0, said("no"), DONE)
    batches = book.batches()
    assert step(batches) == (0, [said("no"), DONE])
    book.replace(0)
    assert book.closings == [book.turns[0]]
    (again,) = book.turn_set.turns
    assert isinstance(again, Turn)
    assert again is not book.turns[0]
    tell(again, said("yes"), DONE)
    assert read(batches) == {0: [said("yes"), DONE]}


def test_a_turn_may_be_asked_again_in_the_middle(play: Play) -> None:
    book = play(1)
    batches = book.batches()
    book.deliver(0, said("no"))
    assert step(batches) == (0, [said("no")])
    book.replace(0)
    tell(book.turns[0], said("too late"), DONE)
    book.deliver(0, said("yes"), DONE)
    assert read(batches) == {0: [said("yes"), DONE]}
    assert book.turns[0].state is TurnState.ABANDONED


# Several choices


def test_what_happens_in_any_choice_is_seen_with_its_index(play: Play) -> None:
    book = play(3)
    waiting = in_background(read, book.batches())
    gevent.sleep(0)
    for round_ in range(20):
        for index in range(3):
            book.deliver(index, said(f"{index}.{round_}"))
        gevent.sleep(0)
    for index in (1, 0, 2):
        book.deliver(index, DONE)
    assert result(waiting) == {
        index: [*(said(f"{index}.{round_}") for round_ in range(20)), DONE] for index in range(3)
    }


def test_a_choice_is_heard_as_soon_as_it_speaks(play: Play) -> None:
    book = play(2)
    batches = book.batches()
    for index, text in ((1, "b"), (0, "a"), (1, "c")):
        waiting = in_background(next, batches)
        gevent.sleep(0)
        book.deliver(index, said(text))
        assert result(waiting) == (index, [said(text)])


def test_more_batches_than_fit_are_lost_by_nobody(play: Play) -> None:
    book = play(2)
    batches = book.batches()
    waiting = in_background(next, batches)
    seen: dict[int, list[Event]] = {0: [], 1: []}
    for number in range(200):
        for index in range(2):
            book.deliver(index, said(str(number)))
        gevent.sleep(0)  # the pumps run, the consumer does not
    index, events = result(waiting)
    seen[index] += events
    for index in range(2):
        book.deliver(index, DONE)
    for index, more in read(batches).items():
        seen[index] += more
    assert seen == {i: [*(said(str(n)) for n in range(200)), DONE] for i in range(2)}


def test_choices_end_when_all_of_them_have_ended(play: Play) -> None:
    book = play(2)
    batches = book.batches()
    book.deliver(0, DONE)
    assert step(batches) == (0, [DONE])
    waiting = in_background(next, batches)
    settle()
    assert not waiting.ready()
    book.deliver(1, DONE)
    assert result(waiting) == (1, [DONE])
    assert isinstance(step(batches), StopIteration)
    eventually(lambda: len(book.turn_set._pumps) == 0)


def test_one_choice_may_end_early_and_the_others_go_on(play: Play) -> None:
    book = play(3)
    batches = book.batches()
    book.deliver(1, said("b"))
    assert step(batches) == (1, [said("b")])
    book.turn_set.close_one(1)
    assert book.closings == [book.turns[1]]
    tell(book.turns[1], said("too late"), TurnEnded(TurnStatus.INTERRUPTED))
    book.deliver(0, said("a"), DONE)
    book.deliver(2, DONE)
    assert read(batches) == {0: [said("a"), DONE], 2: [DONE]}


@pytest.mark.parametrize("error", [Draining("soon"), SlowReader("slow")])
def test_an_error_in_one_choice_is_told_with_its_index(play: Play, error: GatewayError) -> None:
    book = play(3)
    batches = book.batches()
    book.deliver(0, said("a"))
    assert step(batches) == (0, [said("a")])
    waiting = in_background(next, batches)
    gevent.sleep(0)
    book.turn(2).fail(error)
    assert result(waiting) == (2, error)
    book.turn_set.close()
    assert sorted(book.closings, key=book.turns.index) == book.turns
    eventually(lambda: len(book.turn_set._pumps) == 0)


def test_the_deadline_of_one_choice_is_the_deadline_of_all(play: Play) -> None:
    book = play(2, replace(PATIENT, first_s=2 * SHORT_S))
    batches = book.batches()
    book.deliver(0, said("a"))
    assert step(batches) == (0, [said("a")])
    index, error = step(batches)
    assert (index, type(error)) == (1, WorkerTimeout)


def test_the_quiet_ticks_of_several_turns_are_seen(play: Play) -> None:
    book = play(2, replace(PATIENT, commit_s=SHORT_S, tick_s=SHORT_S))
    batches = book.batches()
    assert {step(batches)[0] for _ in range(4)} == {0, 1}


# Closing


def test_closing_ends_everything_and_may_be_done_again(play: Play) -> None:
    book = play(3)
    batches = book.batches()
    book.deliver(0, said("a"))
    step(batches)
    for _ in range(3):
        book.turn_set.close()
    assert book.closings == book.turns
    assert all(turn.state is TurnState.ABANDONED for turn in book.turns)
    eventually(lambda: len(book.turn_set._pumps) == 0)


def test_closing_before_anybody_followed_is_closing_too(play: Play) -> None:
    for count in (1, 3):
        book = play(count)
        book.turn_set.close()
        assert book.closings == book.turns


def test_pumps_that_wait_for_room_are_ended_by_closing(play: Play) -> None:
    book = play(2)
    batches = book.batches()
    book.deliver(0, said("first"))
    step(batches)
    for number in range(100):
        for index in range(2):
            book.deliver(index, said(str(number)))
        gevent.sleep(0)
    book.turn_set.close()
    eventually(lambda: len(book.turn_set._pumps) == 0)


# Times


def test_the_times_are_those_of_the_first(play: Play) -> None:
    book = play(2)
    assert book.turn_set.first_event_at is None
    assert book.turn_set.started == min(turn.started for turn in book.turns)
    batches = book.batches()
    book.deliver(1, said("b"))
    step(batches)
    first = book.turn_set.first_event_at
    assert first == book.turns[1].first_event_at
    book.deliver(0, said("a"))
    step(batches)
    assert book.turn_set.first_event_at == first


def test_one_of_several_choices_that_is_asked_again_is_heard_again(play: Play) -> None:
    book = play(2)
    batches = book.batches()
    book.deliver(0, said("no"), DONE)
    assert step(batches) == (0, [said("no"), DONE])
    book.replace(0)
    book.deliver(0, said("yes"), DONE)
    book.deliver(1, DONE)
    assert read(batches) == {0: [said("yes"), DONE], 1: [DONE]}


def test_one_of_several_choices_may_be_asked_again_while_batches_wait(play: Play) -> None:
    book = play(2)
    book.deliver(0, said("no"), DONE)
    book.deliver(1, said("x"), DONE)
    batches = book.batches()
    assert step(batches)[0] == 0
    settle()
    book.replace(0)
    book.deliver(0, said("yes"), DONE)
    assert read(batches) == {0: [said("yes"), DONE], 1: [said("x"), DONE]}


def test_a_turn_that_is_put_in_after_everything_was_closed_is_closed_too(play: Play) -> None:
    book = play(1)
    book.deliver(0, DONE)
    step(book.batches())
    book.turn_set.close()
    late = book.make("late")
    book.turn_set.put(0, late)
    assert late in book.closings


def test_a_closed_choice_is_over_whatever_the_time(play: Play) -> None:
    book = play(1, replace(PATIENT, total_s=2 * SHORT_S))
    batches = book.batches()
    book.deliver(0, said("a"))
    assert step(batches) == (0, [said("a")])
    started = book.turns[0].started
    eventually(lambda: time.monotonic() > started + 2 * SHORT_S)  # the client reads slowly
    book.turn_set.close_one(0)
    assert isinstance(step(batches), StopIteration)


@pytest.mark.parametrize("last", [DONE, None])
def test_what_a_replaced_turn_still_said_is_of_no_interest(play: Play, last: Event | None) -> None:
    """Its pump runs ahead of whoever follows: news of the old turn may wait in line when the new one begins."""
    book = play(2)
    batches = book.batches()
    book.deliver(0, said("broken"))
    assert step(batches) == (0, [said("broken")])
    book.deliver(0, said("stale"))
    settle()  # the pump puts it in line
    if last is None:
        book.turn(0).fail(WorkerLost("gone"))
    else:
        book.deliver(0, last)
    settle()
    book.replace(0)
    book.deliver(0, said("fresh"), DONE)
    book.deliver(1, DONE)
    assert read(batches) == {0: [said("fresh"), DONE], 1: [DONE]}
