"""Answers to plans, on a backend that follows a script: tries, ends, and what goes out before an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from app.answers.answer import Answer
from app.answers.choice import Choice
from app.answers.chunks import (
    Began,
    CallBegan,
    Cause,
    Chunk,
    Cost,
    Ended,
    ItemBegan,
    ItemEnded,
    Restarted,
    Text,
    TextPieces,
    Working,
    is_from_model,
    without_discarded,
)
from app.answers.constraints import AnswerConstraints
from app.answers.event_portions import MOST_EVENTS
from app.answers.model_names import Resolved
from app.answers.output_format import JSON_OBJECT
from app.answers.plan import AnswerPlan, Prompt, RequestWords
from app.backend.admission import Admission, SlotRequest
from app.backend.engine import Engine
from app.backend.events import (
    Event,
    MessageBegan,
    RawItem,
    TextDelta,
    TextRun,
    TurnEnded,
    TurnFailure,
    TurnStatus,
    Usage,
    UsageUpdated,
)
from app.backend.lease import Lease
from app.backend.observer import NullObserver, RequestObserver, TurnFacts
from app.backend.protocols import Pace
from app.backend.request import Item, Model, TurnRequest
from app.errors import (
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    ReasoningRefused,
    RequestPart,
    UpstreamAuth,
    UpstreamBrokeOff,
    UpstreamError,
    WorkerLost,
    WorkerUnavailable,
)
from tests.fakes.table_backend import TableBackend, TableTurn
from tests.fakes.waiting import DEADLINE_S, outcome

PACE = Pace(first_s=DEADLINE_S, total_s=DEADLINE_S, commit_s=DEADLINE_S, tick_s=DEADLINE_S)
WORDS = RequestWords({RequestPart.PROMPT: "input"}, too_long="Please shorten it.")
NO_CONSTRAINTS = AnswerConstraints()
MODEL = Model("m", ("low", "high"), "low")
USER: Item = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hi"}],
}
DONE = TurnEnded(TurnStatus.COMPLETED)
CUT = TurnEnded(TurnStatus.FAILED, TurnFailure("", "responseStreamDisconnected"))
AUTH = TurnEnded(TurnStatus.FAILED, TurnFailure("", "unauthorized"))
TOO_LONG = TurnEnded(TurnStatus.FAILED, TurnFailure("", "contextWindowExceeded"))
Batch = Sequence[Event] | GatewayError


def said(text: str) -> TextDelta:
    return TextDelta("m", text)


class ScriptedTurn(TableTurn):
    """Yields whole batches; an empty one is a quiet time, and an error ends it from the gateway's side."""

    batches: Sequence[Batch] = ()

    def follow(self, pace: Pace, since: float | None = None) -> Iterator[list[Event]]:
        for batch in self.batches:
            if isinstance(batch, GatewayError):
                raise batch
            yield [*batch]


class ScriptedBackend(TableBackend):
    """Opens the turns of a script, one after another; an error in place of one is raised."""

    def __init__(self, *script: Sequence[Batch] | GatewayError) -> None:
        super().__init__()
        self.asked: list[TurnRequest] = []
        self.logins: list[bool] = []
        self._script = iter(script)

    def note_login(self, *, accepted: bool) -> None:
        self.logins.append(accepted)

    def open(
        self, request: TurnRequest, lease: Lease, deadline: float, observer: RequestObserver
    ) -> TableTurn:
        self.asked.append(request)
        batches = next(self._script)
        if isinstance(batches, GatewayError):
            raise batches
        turn = ScriptedTurn(len(self.asked), (), lease)
        turn.batches = batches
        return turn


class Tries(NullObserver):
    def __init__(self) -> None:
        self.errors: list[GatewayError] = []
        self.failures: list[GatewayError] = []

    def retried(self, facts: TurnFacts, error: GatewayError) -> None:
        self.errors.append(error)

    def failed(self, facts: TurnFacts, error: GatewayError) -> None:
        self.failures.append(error)


class Kept:
    """What the answer wants kept, and how often it wants it forgotten."""

    def __init__(self) -> None:
        self.answers: list[list[Item]] = []
        self.forgotten = 0

    def keep(self, choices: Sequence[Choice]) -> None:
        self.answers += [choice.items for choice in choices]

    def forget(self) -> None:
        self.forgotten += 1


@dataclass
class Stage:
    """One plan, answered. `recalled` is what stands in its conversation that the client did not send."""

    backend: ScriptedBackend
    constraints: AnswerConstraints = NO_CONSTRAINTS
    n: int = 1
    tries: Tries = field(default_factory=Tries)
    admission: Admission = field(default_factory=lambda: Admission(4, 0))
    kept: Kept = field(default_factory=Kept)
    recalled: tuple[Item, ...] = ()

    def answer(self) -> Answer:
        plan = AnswerPlan(
            (
                Prompt(
                    TurnRequest("m", (*self.recalled, USER)),
                    self.constraints,
                    self.n,
                    is_recalled=bool(self.recalled),
                ),
            ),
            WORDS,
            Resolved("m", MODEL, "high"),
            ("top_p",),
        )
        engine = Engine(self.backend, self.admission, DEADLINE_S)
        with engine.admit(plan.count, SlotRequest("key"), self.tries) as admitted:
            return Answer.begin(
                plan, engine, admitted, PACE, owner="key", observer=self.tries, keeper=self.kept
            )


def shown(chunks: Sequence[Chunk]) -> list[Chunk]:
    return [c for c in chunks if not isinstance(c, ItemBegan | ItemEnded | Working)]


def read(answer: Answer, *, commit: bool) -> tuple[list[Chunk], GatewayError | None]:
    """Return every chunk, and the error that ended it; `commit` sends what comes, as a stream does."""
    chunks: list[Chunk] = []
    try:
        for more in answer:
            chunks += more or ()
            if commit and more is not None:
                answer.commit(more)
    except GatewayError as error:
        return shown(chunks), error
    finally:
        answer.close()
    return shown(chunks), None


def test_an_answer_is_begun_said_ended_and_paid() -> None:
    usage = Usage(5, 1, 2, 0, 7)
    stage = Stage(ScriptedBackend([[said("a")], [said("b"), UsageUpdated(usage), DONE]]))
    answer = stage.answer()
    assert stage.admission.running == 1
    chunks, error = read(answer, commit=True)
    assert (chunks, error) == (
        [Began(0), Text(0, "a"), Text(0, "b"), Ended(0, Cause.FINISHED), Cost(usage)],
        None,
    )
    assert stage.admission.running == 0
    assert stage.backend.logins == [True]
    summary = answer.summary()
    assert (summary.usage, summary.cause, summary.usage_estimated) == (usage, Cause.FINISHED, False)
    assert summary.metadata() == {
        "thread_id": "thread-1",
        "turn_id": "turn-1",
        "model": "m",
        "effort": "high",
        "ignored_parameters": ["top_p"],
        "adjusted_parameters": {},
        "upstream": "table",
        "ttft_ms": summary.ttft_ms,
        "duration_ms": summary.duration_ms,
        "usage_estimated": False,
        "continued": False,
        "cached_tokens": usage.cached_input,
    }


def test_a_run_that_is_left_in_its_middle_is_given_back() -> None:
    texts = [str(number) for number in range(3 * MOST_EVENTS)]
    stage = Stage(ScriptedBackend([[said("a"), TextRun("m", texts), DONE]]))
    answer = stage.answer()
    heard: list[Chunk] = []
    for chunks in answer:
        heard += shown(chunks or ())
        if len(heard) > 2:  # more of it is there, and its client leaves
            break
    answer.close()
    some = texts[:MOST_EVENTS]
    assert heard == [Began(0), Text(0, "a"), TextPieces(0, "".join(some), some)]
    assert (stage.admission.running, stage.kept.answers) == (0, [])


def test_a_limit_within_a_run_ends_the_turn_there() -> None:
    batch: list[Event] = [said("a"), TextRun("m", ["b", "c", "d"]), TextRun("m", ["e"])]
    stage = Stage(ScriptedBackend([batch]), AnswerConstraints(max_tokens=3))
    chunks, error = read(stage.answer(), commit=True)
    assert chunks[:-1] == [
        Began(0),
        *(Text(0, text) for text in "abc"),
        Ended(0, Cause.TOKEN_LIMIT),
    ]
    assert isinstance(chunks[-1], Cost)
    assert chunks[-1].usage.output == 3
    assert (error, stage.admission.running) == (None, 0)


def test_a_quiet_time_is_told_apart_from_events_that_show_nothing() -> None:
    usage = UsageUpdated(Usage(1, 0, 1, 0, 2))
    answer = Stage(ScriptedBackend([[], [usage], [said("a"), DONE]])).answer()
    found = list(answer)
    answer.close()
    assert found[1] is None
    assert found[2] == []
    assert [is_from_model(more or ()) for more in found] == [False, False, False, True]


@pytest.mark.parametrize("commit", [True, False])
def test_a_turn_that_broke_off_unseen_is_tried_once_more(*, commit: bool) -> None:
    stage = Stage(ScriptedBackend([[CUT]], [[said("b"), DONE]]))
    chunks, error = read(stage.answer(), commit=commit)
    assert error is None
    assert chunks[:3] == [Began(0), Restarted(0), Text(0, "b")]
    assert [type(one) for one in stage.tries.errors] == [UpstreamBrokeOff]
    assert stage.admission.running == 0


MANY = [f"{number} " for number in range(MOST_EVENTS + 72)]
"""Pieces of more than one portion."""


def test_what_a_turn_said_after_it_was_given_up_reaches_nobody() -> None:
    """One batch brings pieces, codex' own new beginning, and far more than a portion of the next message."""
    later = [TextDelta("n", text) for text in MANY]
    first: list[Event] = [*map(said, MANY[:100]), MessageBegan("n", None), *later, DONE]
    stage = Stage(ScriptedBackend([first, [said("late")]], [[said("good"), DONE]]))
    chunks, error = read(stage.answer(), commit=False)
    assert error is None
    assert [one.text for one in without_discarded(chunks) if isinstance(one, Text)] == ["good"]
    assert len(stage.backend.asked) == 2


def test_what_follows_a_missed_task_in_its_batch_is_not_taken_for_another_try() -> None:
    constraints = AnswerConstraints(stops=("STOP",), requires_tool=True, offers_tools=True)
    call = RawItem({"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"})
    first: list[Event] = [said("x"), said("STOP"), *map(said, MANY), DONE]
    stage = Stage(ScriptedBackend([first], [[call, DONE]]), constraints)
    chunks, error = read(stage.answer(), commit=False)
    assert error is None
    assert [one.name for one in chunks if isinstance(one, CallBegan)] == ["f"]


def test_a_turn_that_breaks_off_again_is_not_tried_a_third_time() -> None:
    stage = Stage(ScriptedBackend([[CUT]], [[CUT]]))
    chunks, error = read(stage.answer(), commit=True)
    assert chunks == [Began(0), Restarted(0)]
    assert isinstance(error, UpstreamBrokeOff)
    assert len(stage.backend.asked) == 2


def test_what_the_client_has_seen_is_not_taken_back() -> None:
    stage = Stage(ScriptedBackend([[said("a")], [said("b"), CUT]]))
    chunks, error = read(stage.answer(), commit=True)
    assert chunks == [Began(0), Text(0, "a"), Text(0, "b")]  # what came before the failure
    assert isinstance(error, UpstreamBrokeOff)
    assert len(stage.backend.asked) == 1


def test_before_anything_went_out_a_failure_is_all_there_is() -> None:
    stage = Stage(ScriptedBackend([[said("a"), TOO_LONG]]))
    chunks, error = read(stage.answer(), commit=False)
    assert chunks == [Began(0)]
    assert isinstance(error, ContextLengthExceeded)
    assert error.param == "input"
    assert error.message.endswith("Please shorten it.")


def test_a_refused_login_is_told_to_the_backend() -> None:
    stage = Stage(ScriptedBackend([[AUTH]]))
    _, error = read(stage.answer(), commit=False)
    assert isinstance(error, UpstreamAuth)
    assert stage.backend.logins == [False]


def test_a_missed_task_is_asked_for_once_more_on_the_same_slot() -> None:
    constraints = AnswerConstraints(output=JSON_OBJECT, can_check=True)
    stage = Stage(ScriptedBackend([[said("no"), DONE]], [[said("{}"), DONE]]), constraints)
    stage.admission = Admission(1, 0)
    chunks, error = read(stage.answer(), commit=False)
    assert error is None
    assert chunks[:2] == [Began(0), Text(0, "{}")]
    first, second = stage.backend.asked
    (instruction,) = second.items[len(first.items) :]
    assert instruction["role"] == "developer"
    assert "not valid JSON" in instruction["content"][0]["text"]


def test_one_of_several_choices_is_tried_again_and_the_others_go_on() -> None:
    stage = Stage(
        ScriptedBackend([[said("a"), DONE]], [[CUT]], [[said("c"), DONE]], [[said("b"), DONE]]),
        n=3,
    )
    chunks, error = read(stage.answer(), commit=False)
    assert error is None
    texts = {chunk.index: chunk.text for chunk in chunks if isinstance(chunk, Text)}
    assert texts == {0: "a", 1: "b", 2: "c"}
    assert isinstance(chunks[-1], Cost)
    assert stage.admission.running == 0


@pytest.mark.parametrize(
    ("error", "opened"),
    [
        (WorkerLost("gone"), 2),
        (WorkerUnavailable("not yet"), 1),
        (InvalidRequest("no", part=RequestPart.PROMPT), 1),
    ],
)
def test_only_where_the_process_went_away_a_turn_is_opened_anew(
    error: GatewayError, opened: int
) -> None:
    stage = Stage(ScriptedBackend(error, [[said("a"), DONE]]))
    if opened == 2:
        chunks, failure = read(stage.answer(), commit=False)
        assert failure is None
        assert Text(0, "a") in chunks
    else:
        assert outcome(stage.answer) is error
    assert len(stage.backend.asked) == opened
    assert stage.admission.running == 0


def test_of_turns_that_cannot_all_be_opened_none_is_left() -> None:
    error = InvalidRequest("no", part=RequestPart.PROMPT)
    stage = Stage(ScriptedBackend([[DONE]], [[DONE]], error), n=3)
    assert outcome(stage.answer) is error
    assert error.param == "input"
    assert stage.admission.running == 0


def test_a_second_try_that_cannot_be_opened_ends_the_answer() -> None:
    error = InvalidRequest("no", part=RequestPart.PROMPT)
    stage = Stage(ScriptedBackend([[CUT]], error))
    chunks, failure = read(stage.answer(), commit=True)
    assert (chunks, failure, error.param) == ([Began(0)], error, "input")
    assert stage.admission.running == 0


def test_an_error_of_the_gateway_ends_the_answer_after_what_was_said() -> None:
    error = UpstreamError("enough")
    stage = Stage(ScriptedBackend([[said("a")], error]))
    chunks, failure = read(stage.answer(), commit=True)
    assert (chunks, failure) == ([Began(0), Text(0, "a")], error)
    assert stage.admission.running == 0


# What is kept for the request that brings the answer back

THOUGHT: Item = {"type": "reasoning", "id": "rs_1", "encrypted_content": "sealed"}
UNSEALED = TurnEnded(
    TurnStatus.FAILED, TurnFailure('{"error":{"message":"No.","code":"invalid_encrypted_content"}}')
)


def test_what_the_upstream_made_is_kept_once_the_last_choice_has_ended() -> None:
    items: list[Item] = [{"type": "message", "content": []}, {"type": "message", "id": "b"}]
    stage = Stage(ScriptedBackend([[RawItem(items[0]), DONE]], [[RawItem(items[1]), DONE]]), n=2)
    assert list(stage.answer())
    assert stage.kept.answers == [[items[0]], [items[1]]]


@pytest.mark.parametrize("n", [1, 2])
def test_reasoning_that_is_refused_is_left_out_once(n: int) -> None:
    said_so: list[Batch] = [[said("a"), DONE]]
    backend = ScriptedBackend(*[[[UNSEALED]]] * n, *[said_so] * n)
    stage = Stage(backend, n=n, recalled=(THOUGHT,))
    assert any(Text(0, "a") in chunks for chunks in stage.answer() if chunks)
    assert [request.items for request in backend.asked] == [(THOUGHT, USER)] * n + [(USER,)] * n
    assert stage.kept.forgotten == n


@pytest.mark.parametrize("recalled", [(), (THOUGHT,)])
def test_a_refusal_is_the_callers_where_nothing_was_added_or_nothing_is_left(
    recalled: tuple[Item, ...],
) -> None:
    stage = Stage(ScriptedBackend([[UNSEALED]], [[UNSEALED]]), recalled=recalled)
    with pytest.raises(ReasoningRefused):
        list(stage.answer())
    assert len(stage.backend.asked) == 1 + len(recalled)
