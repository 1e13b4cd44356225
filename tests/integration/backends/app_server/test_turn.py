"""A turn as a transcript: what the reader delivers, what the consumer gets, and who decides the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gevent
import pytest

from app.backend.events import (
    Event,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    Retrying,
    TextDelta,
    TextRun,
    TurnEnded,
    TurnFailure,
    TurnStatus,
    Usage,
    UsageUpdated,
)
from app.backend.observer import TurnState
from app.backend.protocols import Pace
from app.backends.app_server.parse_events import ThreadId, TurnId
from app.backends.app_server.turn import (
    ANSWER_EVENTS,
    GATHERED_BYTES,
    IDLE_GRACE_S,
    MAX_RESPONSES,
    OPEN_STATES,
    QUEUE_BYTES,
    Turn,
)
from app.errors import (
    AnswerTooLarge,
    Draining,
    InternalError,
    SlowReader,
    UpstreamError,
    WorkerLost,
    WorkerTimeout,
)
from tests.fakes.waiting import DEADLINE_S, deadline, in_background, outcome, result

THREAD, OURS, FOREIGN = ThreadId("thread-1"), TurnId("turn-1"), TurnId("turn-of-an-injection")
PATIENT = Pace(first_s=DEADLINE_S, total_s=DEADLINE_S, commit_s=DEADLINE_S, tick_s=DEADLINE_S)
SHORT_S = 0.02
DONE = TurnEnded(TurnStatus.COMPLETED)
USAGE = UsageUpdated(Usage(5, 4, 3, 2, 8))


def said(text: str) -> TextDelta:
    return TextDelta("item-1", text)


def run(*texts: str) -> TextRun:
    return TextRun("item-1", texts)


class Playbook:
    """A turn, its reader's side and its consumer's side."""

    def __init__(self, **options: Any) -> None:
        self.closings: list[Turn] = []
        self.turn = Turn(THREAD, 1, self.closings.append, **options)

    def state(self) -> TurnState:
        """Asked through a method, as mypy takes an attribute for constant between two asserts."""
        return self.turn.state

    def begin(self) -> None:
        self.turn.begin(OURS)

    def deliver(self, *events: Event, turn_id: TurnId = OURS) -> None:
        for event in events:
            self.turn.deliver(turn_id, event)

    def deliver_together(self, *texts: str, turn_id: TurnId = OURS) -> None:
        self.turn.deliver_text(turn_id, run(*texts))

    def follow(self, pace: Pace = PATIENT) -> Iterator[list[Event]]:
        return self.turn.follow(pace)

    def read(self, pace: Pace = PATIENT) -> list[list[Event]]:
        """Follow to the end."""
        with deadline():
            return list(self.follow(pace))


@pytest.fixture
def book() -> Playbook:
    book = Playbook()
    book.begin()
    return book


def step(batches: Iterator[list[Event]]) -> Any:
    """Take the next batch, or what is raised instead."""
    with deadline():
        return outcome(next, batches)


# Events


def test_what_is_delivered_is_followed_to_the_end(book: Playbook) -> None:
    events: list[Event] = [said("Grü"), said("ße "), ReasoningDelta("hm"), USAGE, said("✓"), DONE]
    book.deliver(*events)
    assert book.read() == [events]
    assert book.state() is TurnState.COMPLETED


def test_a_waiting_consumer_gets_each_event_as_it_comes(book: Playbook) -> None:
    batches = book.follow()
    heard = []
    for event in (said("a"), said("b"), DONE):
        waiting = in_background(next, batches)
        book.deliver(event)
        heard.append(result(waiting))
    assert heard == [[said("a")], [said("b")], [DONE]]
    assert isinstance(step(batches), StopIteration)


def test_one_who_gathers_is_woken_by_the_first_piece_and_by_what_is_none(book: Playbook) -> None:
    batches = book.follow(replace(PATIENT, gathers=True))
    waiting = in_background(next, batches)
    book.deliver(said("a"))
    assert result(waiting) == [said("a")]
    waiting = in_background(next, batches)
    for event in (said("b"), ReasoningDelta("hm"), said("c")):
        gevent.sleep(0)
        book.deliver(event)
    gevent.sleep(0)
    assert not waiting.ready()
    book.deliver(USAGE)
    assert result(waiting) == [said("b"), ReasoningDelta("hm"), said("c"), USAGE]


def test_one_who_gathers_is_woken_where_much_has_gathered(book: Playbook) -> None:
    batches = book.follow(replace(PATIENT, gathers=True))
    book.deliver(said("a"))
    assert step(batches) == [said("a")]
    waiting = in_background(next, batches)
    gevent.sleep(0)
    book.deliver(said("b"), said("x" * GATHERED_BYTES))
    assert result(waiting) == [said("b"), said("x" * GATHERED_BYTES)]


def test_events_are_never_merged_and_never_reordered(book: Playbook) -> None:
    texts = ["hel", "lo", "hel", "lo", "", " ", "lo"]
    book.deliver(*map(said, texts), DONE)
    assert [event.text for event in book.read()[0] if isinstance(event, TextDelta)] == texts


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (TurnStatus.COMPLETED, TurnState.COMPLETED),
        (TurnStatus.FAILED, TurnState.FAILED),
        (TurnStatus.INTERRUPTED, TurnState.INTERRUPTED),
    ],
)
def test_the_end_decides_the_state(book: Playbook, status: TurnStatus, state: TurnState) -> None:
    end = TurnEnded(status, TurnFailure("why"))
    book.deliver(said("a"), end)
    assert book.state() is state
    assert book.turn.ended.is_set()
    assert book.read() == [[said("a"), end]]


def test_an_end_that_overtakes_the_acceptance_stays_the_end() -> None:
    book = Playbook()
    assert book.state() is TurnState.PENDING
    book.deliver(said("a"), DONE)
    book.begin()
    assert book.state() is TurnState.COMPLETED
    assert book.turn.turn_id == OURS
    assert book.read() == [[said("a"), DONE]]


def test_events_after_the_end_are_ignored(book: Playbook) -> None:
    book.deliver(said("a"), DONE, said("b"), TurnEnded(TurnStatus.FAILED))
    assert book.read() == [[said("a"), DONE]]
    assert book.state() is TurnState.COMPLETED


def test_items_of_another_turn_are_left_out(book: Playbook) -> None:
    injected, answer = RawItem({"type": "function_call"}), RawItem({"type": "message"})
    book.deliver(injected, turn_id=FOREIGN)
    book.deliver(answer, DONE)
    assert book.read() == [[answer, DONE]]


def test_only_items_of_another_turn_are_no_news(book: Playbook) -> None:
    batches = book.follow()
    waiting = in_background(next, batches)
    book.deliver(RawItem({"type": "function_call"}), turn_id=FOREIGN)
    assert book.turn.take(0) == []
    assert book.turn.first_event_at is None
    book.deliver(DONE)
    assert result(waiting) == [DONE]


def test_an_item_that_overtakes_the_acceptance_is_ours() -> None:
    book = Playbook()
    item = RawItem({"type": "message"})
    book.deliver(item)
    book.begin()
    assert book.turn.take(0) == [item]


# Quiet times and deadlines


def test_quiet_ticks_are_empty_batches(book: Playbook) -> None:
    pace = replace(PATIENT, commit_s=SHORT_S, tick_s=SHORT_S)
    batches = book.follow(pace)
    assert [step(batches), step(batches)] == [[], []]
    book.deliver(said("a"))
    assert step(batches) == [said("a")]
    assert step(batches) == []
    book.deliver(DONE)
    assert step(batches) == [DONE]


def test_the_first_quiet_time_is_the_commit_time(book: Playbook) -> None:
    batches = book.follow(replace(PATIENT, commit_s=SHORT_S))
    assert step(batches) == []
    later = in_background(next, batches)  # the next tick is far away
    book.deliver(said("a"))
    assert result(later) == [said("a")]


def test_an_upstream_that_stays_silent_times_out(book: Playbook) -> None:
    error = step(book.follow(replace(PATIENT, first_s=SHORT_S)))
    assert isinstance(error, WorkerTimeout)
    assert error.message == "The upstream stayed silent for 0.02 seconds."
    assert (error.status, error.retryable) == (504, True)


def test_quiet_ticks_do_not_put_off_the_deadline(book: Playbook) -> None:
    pace = Pace(first_s=4 * SHORT_S, total_s=DEADLINE_S, commit_s=SHORT_S, tick_s=SHORT_S)
    seen: list[list[Event]] = []
    with deadline(), pytest.raises(WorkerTimeout, match="silent"):
        seen.extend(book.follow(pace))
    assert all(batch == [] for batch in seen)


def test_items_of_another_turn_do_not_put_off_the_deadline(book: Playbook) -> None:
    book.deliver(RawItem({"type": "function_call"}), turn_id=FOREIGN)
    assert isinstance(step(book.follow(replace(PATIENT, first_s=SHORT_S))), WorkerTimeout)


def test_after_the_first_event_only_the_total_counts(book: Playbook) -> None:
    batches = book.follow(replace(PATIENT, first_s=0.0, total_s=SHORT_S))
    book.deliver(said("a"))
    assert step(batches) == [said("a")]
    error = step(batches)
    assert isinstance(error, WorkerTimeout)
    assert error.message == "The answer took longer than 0.02 seconds."


def test_a_timed_out_turn_is_still_open_until_it_is_closed(book: Playbook) -> None:
    step(book.follow(replace(PATIENT, first_s=0.0)))
    assert book.state() is TurnState.RUNNING
    book.turn.close()
    assert book.state() is TurnState.ABANDONED


# Ends from our side


def test_what_was_queued_is_read_before_the_error(book: Playbook) -> None:
    book.deliver(said("a"))
    book.turn.fail(WorkerLost("gone"))
    book.deliver(said("too late"))
    batches = book.follow()
    assert step(batches) == [said("a")]
    assert isinstance(step(batches), WorkerLost)
    assert book.state() is TurnState.FAILED


def test_a_waiting_consumer_gets_the_error_at_once(book: Playbook) -> None:
    waiting = in_background(next, book.follow())
    book.turn.fail(Draining("soon"))
    assert isinstance(result(waiting), Draining)


def test_the_error_comes_also_when_only_foreign_items_are_queued(book: Playbook) -> None:
    book.deliver(RawItem({"type": "function_call"}), turn_id=FOREIGN)
    book.turn.fail(Draining("soon"))
    assert isinstance(step(book.follow()), Draining)


def test_the_first_error_stays(book: Playbook) -> None:
    book.turn.fail(Draining("first"))
    book.turn.fail(InternalError("second"))
    assert [type(step(book.follow())) for _ in range(2)] == [Draining, Draining]


def test_an_error_after_the_end_changes_nothing(book: Playbook) -> None:
    book.deliver(said("a"), DONE)
    book.turn.fail(Draining("too late"))
    assert book.state() is TurnState.COMPLETED
    assert book.read() == [[said("a"), DONE]]


@pytest.mark.parametrize("kind", [said, ReasoningDelta])
def test_a_client_that_does_not_read_ends_its_turn(book: Playbook, kind: Any) -> None:
    big = kind("x" * (QUEUE_BYTES // 4))
    book.deliver(big, big, big, big)
    assert book.state() is TurnState.RUNNING
    book.deliver(big)
    assert book.state() is TurnState.FAILED
    batches = book.follow()
    assert step(batches) == [big, big, big, big]
    error = step(batches)
    assert isinstance(error, SlowReader)
    assert not error.retryable


def test_pieces_that_come_together_are_one_event(book: Playbook) -> None:
    book.deliver_together("a", "b")
    book.deliver_together("not ours", "neither", turn_id=FOREIGN)
    book.deliver_together("c")
    batches = book.follow()
    assert step(batches) == [run("a", "b"), run("c")]
    book.turn.fail(Draining("soon"))
    book.deliver_together("late")
    assert isinstance(step(batches), Draining)


def test_pieces_that_come_together_before_the_turn_has_its_id_bring_it() -> None:
    book = Playbook()
    book.deliver_together("a")
    assert book.turn.turn_id == OURS


@pytest.mark.parametrize("text", ["x" * (QUEUE_BYTES // 64), ""])
def test_a_client_that_does_not_read_what_comes_together_ends_its_turn(
    book: Playbook, text: str
) -> None:
    delivered = 0
    while book.state() is TurnState.RUNNING:
        book.deliver_together(*[text] * 16)
        delivered += 16
        assert delivered < QUEUE_BYTES
    batches = book.follow()
    assert sum(len(event.texts) for event in step(batches)) == delivered
    assert isinstance(step(batches), SlowReader)


@pytest.mark.parametrize("text", ["x" * 50_000, ""])
def test_an_answer_without_an_end_that_comes_in_runs_is_cut_off(book: Playbook, text: str) -> None:
    count = 0
    while book.state() is TurnState.RUNNING:
        book.deliver_together(*[text] * 20)
        count += 20
        assert count <= ANSWER_EVENTS + 20
        if book.state() is TurnState.RUNNING:
            book.turn.take(0)
    book.turn.take(0)  # what came before
    with pytest.raises(AnswerTooLarge):
        book.turn.take(0)


def test_a_long_event_may_come_between_short_ones_that_are_not_taken_yet(book: Playbook) -> None:
    long = said("x" * 2 * QUEUE_BYTES)
    book.deliver(said("a"), long, said("b"))
    assert book.state() is TurnState.RUNNING
    batches = book.follow()
    assert step(batches) == [said("a"), long, said("b")]
    book.deliver(long, said("c"), long)
    assert book.state() is TurnState.FAILED


def test_many_small_events_count_too(book: Playbook) -> None:
    delivered = 0
    while book.state() is TurnState.RUNNING:
        book.deliver(said(""))
        delivered += 1
        assert delivered < QUEUE_BYTES
    assert QUEUE_BYTES / delivered > 100


def test_a_model_that_never_comes_to_an_end_is_cut_off(book: Playbook) -> None:
    book.deliver(*[ResponseCompleted(None)] * (MAX_RESPONSES - 1))
    assert book.state() is TurnState.RUNNING
    book.deliver(*[ResponseCompleted(None)] * 2)
    batches = book.follow()
    step(batches)
    assert isinstance(step(batches), UpstreamError)
    assert book.state() is TurnState.FAILED


def test_an_upstream_that_codex_waits_for_is_not_waited_for(book: Playbook) -> None:
    """codex tries again for ever and repeats what it said; see the protocol notes, section 11."""
    book.deliver(said("a"), Retrying(TurnFailure("http://secret.example")), said("a"))
    assert book.state() is TurnState.FAILED
    batches = book.follow()
    assert step(batches) == [said("a")]
    error = step(batches)
    assert isinstance(error, UpstreamError)
    assert "secret" not in error.message
    assert not book.turn.ended.is_set()  # so that it is interrupted


def test_a_client_that_reads_may_have_any_amount(book: Playbook) -> None:
    batches = book.follow()
    big = said("x" * (QUEUE_BYTES // 2))
    for _ in range(5):
        book.deliver(big)
        assert step(batches) == [big]
    book.deliver(DONE)
    assert step(batches) == [DONE]


@pytest.mark.parametrize("how", ["fail", "overflow", "close"])
def test_a_turn_that_we_ended_still_learns_that_codex_ended_it(book: Playbook, how: str) -> None:
    {
        "fail": lambda: book.turn.fail(Draining("soon")),
        "overflow": lambda: book.deliver(*[said("x" * QUEUE_BYTES)] * 3),
        "close": book.turn.close,
    }[how]()
    state = book.state()
    assert state not in OPEN_STATES
    assert not book.turn.ended.is_set()
    book.deliver(TurnEnded(TurnStatus.INTERRUPTED))
    assert book.turn.ended.is_set()
    assert book.state() is state


# Closing


def test_closing_gives_back_once(book: Playbook) -> None:
    for _ in range(3):
        book.turn.close()
    assert book.closings == [book.turn]


def test_closing_an_open_turn_abandons_it(book: Playbook) -> None:
    book.turn.close()
    assert book.state() is TurnState.ABANDONED
    book.deliver(said("a"))
    assert book.turn.take(0) == []


@pytest.mark.parametrize("end", [*TurnStatus, None])
def test_closing_a_turn_that_is_over_keeps_its_outcome(
    book: Playbook, end: TurnStatus | None
) -> None:
    if end is None:
        book.turn.fail(Draining("soon"))
    else:
        book.deliver(TurnEnded(end))
    state = book.state()
    book.turn.close()
    assert book.state() is state
    assert book.closings == [book.turn]


def test_closing_a_turn_that_never_began_abandons_it() -> None:
    book = Playbook()
    book.turn.close()
    book.begin()
    assert book.state() is TurnState.ABANDONED


def test_it_shows_its_state(book: Playbook) -> None:
    book.deliver(said("secret"))
    assert repr(book.turn) == "<Turn thread-1 RUNNING queued=1>"


def test_a_turn_that_is_closed_while_somebody_waits_is_over(book: Playbook) -> None:
    waiting = in_background(book.read)
    book.turn.close()
    assert result(waiting) == []


def test_a_turn_that_was_closed_has_no_more_to_say(book: Playbook) -> None:
    book.deliver(said("a"))
    batches = book.follow()
    assert step(batches) == [said("a")]
    book.deliver(said("b"))
    book.turn.close()
    assert isinstance(step(batches), StopIteration)


def test_it_knows_whether_its_client_offered_tools() -> None:
    assert not Playbook().turn.has_tools
    assert Turn(THREAD, 1, lambda _: None, has_tools=True).has_tools


def test_the_time_of_the_first_event_is_kept(book: Playbook) -> None:
    before = book.turn.first_event_at
    assert before is None
    book.deliver(said("a"))
    book.turn.take(0)
    first = book.turn.first_event_at
    assert first is not None
    assert first >= book.turn.started
    book.deliver(DONE)
    book.turn.take(0)
    assert book.turn.first_event_at == first


def test_a_stream_without_a_gap_does_not_outlive_its_deadline(book: Playbook) -> None:
    batches = book.follow(replace(PATIENT, total_s=0.0))
    book.deliver(said("a"))
    assert step(batches) == [said("a")]
    book.deliver(said("b"))
    assert isinstance(step(batches), WorkerTimeout)


# An end that codex does not tell

WHOLE = RawItem({"type": "message", "content": []})
COMPLETED = ResponseCompleted(None)
HASTY = replace(PATIENT, first_s=0.01)


def test_the_end_of_an_answer_that_is_complete_is_made_up_for(book: Playbook) -> None:
    book.deliver(said("a"), WHOLE, COMPLETED)
    assert book.read(HASTY) == [[said("a"), WHOLE, COMPLETED], [DONE]]
    assert book.state() is TurnState.COMPLETED
    assert book.turn.is_end_lost
    assert book.closings == [book.turn]


def test_what_is_whole_is_delivered_where_the_whole_request_is_over(book: Playbook) -> None:
    book.deliver(said("a"), WHOLE)
    assert book.read(replace(PATIENT, total_s=0.0)) == [[said("a"), WHOLE], [DONE]]


def test_what_is_not_whole_is_not(book: Playbook) -> None:
    batches = book.follow(replace(HASTY, first_s=-IDLE_GRACE_S))
    book.deliver(said("a"))
    assert step(batches) == [said("a")]
    error = step(batches)
    assert isinstance(error, WorkerTimeout)
    assert "silent" in error.message


@pytest.mark.parametrize("runs", [True, False])
def test_codex_is_asked_whether_a_call_is_being_written(*, runs: bool) -> None:
    asked: list[Turn] = []

    def still_runs(turn: Turn) -> bool:
        asked.append(turn)
        return runs and len(asked) < 3

    book = Playbook(has_tools=True, still_runs=still_runs)
    book.begin()
    book.deliver(said("a"), WHOLE)
    assert book.read(replace(HASTY, first_s=-IDLE_GRACE_S))[-1] == [DONE]
    assert asked == [book.turn] * (3 if runs else 1)


@pytest.mark.parametrize("kind", [said, ReasoningDelta])
@pytest.mark.parametrize("text", ["", "x" * 100_000])
def test_an_answer_without_an_end_is_cut_off_however_well_it_is_read(
    book: Playbook, kind: Any, text: str
) -> None:
    endless, count = kind(text), 0
    while book.state() is TurnState.RUNNING:
        book.deliver(endless)
        count += 1
        assert count <= ANSWER_EVENTS + 1
        if book.state() is TurnState.RUNNING and count % 10 == 0:
            book.turn.take(0)
    book.turn.take(0)  # what came before
    with pytest.raises(AnswerTooLarge):
        book.turn.take(0)
