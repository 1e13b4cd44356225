"""A background answer without HTTP: who ends it, what is stored of its end, and what its followers are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import gevent
import pytest
from gevent.event import Event

from app.answers.answer import Answer
from app.answers.chunks import Began, Chunk
from app.answers.summary import Summary
from app.api.responses.wire import BackgroundWire
from app.budget import Reservation, SharedBudget, Shares
from app.errors import Draining, GatewayError, StoreFailed, UpstreamError, WorkerBusy
from app.http.background import BackgroundAnswer, Cancelled
from app.http.event_log import EventLog
from app.http.followed_stream import FollowedStream, LogSource
from app.http.frames import frame
from app.http.wire import Payload
from app.observability.requests import RequestRecord
from tests.fakes.waiting import eventually
from tests.unit.api.responses.answers import SUMMARY, answer, heading, request, said

RENEW_S = 0.01
DEADLINE_S = 20


def full(is_share: bool) -> WorkerBusy:
    return WorkerBusy(f"full {is_share}")


class FakeAnswer:
    """Chunks of an answer, which waits before it goes on from a certain one, and may fail in the end."""

    def __init__(
        self, chunks: list[Chunk], hold_at: int = -1, error: GatewayError | None = None
    ) -> None:
        self.chunks, self.hold_at, self.error = chunks, hold_at, error
        self.is_closed = False
        self.committed: list[Chunk] = []
        self.is_held, self.go_on = Event(), Event()

    def __iter__(self) -> Iterator[list[Chunk] | None]:
        for place, chunk in enumerate(self.chunks):
            if place == self.hold_at:
                self.is_held.set()
                yield None
                self.go_on.wait()
            yield [chunk]
        if self.error is not None:
            raise self.error

    def commit(self, chunks: list[Chunk]) -> None:
        self.committed += chunks

    def summary(self) -> Summary:
        return SUMMARY

    def close(self) -> None:
        self.is_closed = True


class FakeKept:
    """What a store has of one answer; `failures` is how often it fails, `is_taken` that it is somebody else's.

    `defect` is a call of it that a mistake of ours or a lack of memory ends.
    """

    def __init__(self, failures: int = 0, defect: str = "") -> None:
        self.failures, self.defect = failures, defect
        self.is_taken = False
        self.is_removed = False  # since it last said that it works on it
        self.settled: list[dict[str, Any]] = []
        self.on_settle: list[Callable[[], object]] = []
        self.renewed: list[str] = []

    def renew(self, snapshot: dict[str, Any]) -> bool:
        self.renewed.append(snapshot["status"])
        if self.defect == "renew":
            raise MemoryError
        return not self.is_taken

    def settle(self, ended: dict[str, Any]) -> bool:
        for call in self.on_settle:
            call()
        if self.defect == "settle":
            self.defect = ""
            raise MemoryError
        if self.failures:
            self.failures -= 1
            raise StoreFailed("no")
        if self.is_taken or self.is_removed:
            return False
        self.settled.append(json.loads(json.dumps(ended)))
        return True


class Stage:
    """A background answer at work, and all that it meets."""

    def __init__(
        self,
        made: FakeAnswer | Exception,
        kept: FakeKept | None = None,
        room: int = 1 << 20,
        wire: type[BackgroundWire] = BackgroundWire,
    ) -> None:
        self.made, self.kept = made, kept or FakeKept()
        self.room = SharedBudget(Shares(room, is_split=False), full)
        self.log = EventLog(Reservation(self.room, "ann"))
        members = {"background": True}
        self.wire = wire(heading(**members), request(**members))
        self.record = RequestRecord("req_1", "POST")
        self.running = BackgroundAnswer(
            self._begin,
            self.wire,
            self.kept,
            self.log,
            self.record,
            tell_again=lambda _, after: self._rest(after),
            renew_s=RENEW_S,
        )
        self.source = LogSource(self.log)
        self.worker = gevent.spawn(self.running.work)

    def _begin(self) -> Answer:
        if isinstance(self.made, Exception):
            raise self.made
        return cast("Answer", self.made)

    def follow(self, after: int = -1, tick_s: float = DEADLINE_S) -> list[dict[str, Any]]:
        record = RequestRecord("req_2", "GET")
        body = FollowedStream(
            self.source, after, tick_s, self.wire.sign_of_life, self._rest, record
        )
        with gevent.Timeout(DEADLINE_S):
            blocks = b"".join(body).decode().split("\n\n")
        return [json.loads(block.partition("data: ")[2]) for block in blocks if block]

    def _rest(self, after: int) -> bytes:
        return frame(("rest", json.dumps({"type": "rest", "after": after}).encode()))

    def finish(self) -> None:
        self.worker.join(DEADLINE_S)
        assert self.worker.successful()


WHOLE = answer(said("a", "b"))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_what_is_told_has_been_stored() -> None:
    stage = Stage(FakeAnswer(WHOLE))
    events = stage.follow()
    stage.finish()
    assert kinds(events)[:3] == ["created", "queued", "in_progress"]
    assert stage.kept.settled == [events[-1]["response"]] == [stage.running.response()]
    assert stage.record.outcome == "completed"
    made = cast("FakeAnswer", stage.made)
    assert made.is_closed
    assert made.committed == WHOLE[:-1], "what was told is not tried again"
    assert stage.room.shares.used > 0, "its reader has not gone"
    stage.source.close()
    assert stage.room.shares.used == 0


def test_an_end_that_is_not_stored_is_tried_again() -> None:
    stage = Stage(FakeAnswer(WHOLE), FakeKept(failures=3))
    events = stage.follow()
    assert kinds(events)[-1] == "completed", "nobody has to wait for the store"
    stage.finish()
    assert stage.kept.settled == [events[-1]["response"]]


@pytest.mark.parametrize("cause", [Draining("Bye."), Cancelled()])
def test_who_ends_it_ends_its_turn(cause: GatewayError | Cancelled) -> None:
    made = FakeAnswer(WHOLE, hold_at=3)
    stage = Stage(made)
    made.is_held.wait(DEADLINE_S)
    closed: list[bool] = []
    stage.kept.on_settle.append(lambda: closed.append(made.is_closed))
    stage.running.end(cause)
    stage.running.end(UpstreamError("too late"))
    events = stage.follow()
    stage.finish()
    assert closed == [True], "its turn does not wait for the store"
    (settled,) = stage.kept.settled
    assert settled == events[-1]["response"]
    assert settled["status"] == ("cancelled" if isinstance(cause, Cancelled) else "failed")
    assert settled["output"][0]["status"] == "incomplete"
    assert made.is_closed


def test_one_that_is_ended_before_it_began_is_never_begun() -> None:
    made = FakeAnswer(WHOLE)
    stage = Stage(made)
    stage.running.end(Cancelled())
    events = stage.follow()
    stage.finish()
    assert kinds(events) == ["created", "queued", "incomplete"]
    assert not made.is_closed


def test_one_that_somebody_else_has_ended_is_given_up() -> None:
    made = FakeAnswer(WHOLE, hold_at=3)
    stage = Stage(made)
    made.is_held.wait(DEADLINE_S)
    stage.kept.is_taken = True
    events = stage.follow()
    stage.finish()
    assert events[-1]["response"]["status"] == "cancelled"
    assert stage.kept.settled == []
    assert made.is_closed
    assert stage.kept.renewed[-1] == "in_progress"


def test_one_that_is_removed_at_its_very_end_is_told_as_cancelled() -> None:
    made = FakeAnswer(WHOLE, hold_at=len(WHOLE) - 1)
    stage = Stage(made)
    made.is_held.wait(DEADLINE_S)
    stage.kept.is_removed = True
    made.go_on.set()
    events = stage.follow()
    stage.finish()
    assert kinds(events)[-1] == "incomplete"
    assert stage.running.response()["status"] == "cancelled"
    assert stage.record.outcome == "cancelled"


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (UpstreamError("gone"), "UPSTREAM_ERROR"),
        (RuntimeError("defect"), "INTERNAL_ERROR"),
        (FakeAnswer([Began(0)], error=UpstreamError("gone")), "UPSTREAM_ERROR"),
        (FakeAnswer([Began(0), *said("a")[:2]]), "INTERNAL_ERROR"),
    ],
)
def test_whatever_goes_wrong_is_its_end(made: FakeAnswer | Exception, code: str) -> None:
    stage = Stage(made)
    events = stage.follow()
    stage.finish()
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["codex_metadata"]["error"]["code"] == code
    assert stage.kept.settled == [events[-1]["response"]]
    assert (stage.record.outcome, stage.record.error_code) == ("failed", code)


@pytest.mark.parametrize("defect", ["renew", "settle"])
@pytest.mark.parametrize("cause", [None, Draining("Bye."), Cancelled()])
def test_what_goes_wrong_with_the_store_holds_up_nobody(
    defect: str, cause: GatewayError | Cancelled | None
) -> None:
    made = FakeAnswer(WHOLE, hold_at=3)
    stage = Stage(made, FakeKept(defect=defect))
    eventually(lambda: made.is_held.is_set() and len(stage.kept.renewed) > 1)
    if cause is None:
        made.go_on.set()
    else:
        stage.running.end(cause)
    events = stage.follow()
    stage.finish()
    assert stage.running.ended.is_set()
    assert made.is_closed
    assert stage.kept.settled == [events[-1]["response"]]


class UnspeakableWire(BackgroundWire):
    """Has no memory for the last events."""

    __slots__ = ()

    def cancelled(self) -> Iterator[Payload]:
        raise MemoryError


def test_an_end_that_cannot_be_told_is_one_all_the_same() -> None:
    made = FakeAnswer(WHOLE, hold_at=3)
    stage = Stage(made, wire=UnspeakableWire)
    made.is_held.wait(DEADLINE_S)
    stage.running.end(Cancelled())
    assert kinds(stage.follow())[-1] == "output_text.delta"
    stage.finish()
    assert stage.running.ended.is_set()
    assert made.is_closed
    assert (stage.record.outcome, stage.record.error_code) == ("failed", "OUT_OF_MEMORY")


def test_a_follower_of_what_is_silent_gets_signs_of_life() -> None:
    made = FakeAnswer(WHOLE, hold_at=3)
    stage = Stage(made)
    made.is_held.wait(DEADLINE_S)
    gevent.spawn_later(0.05, made.go_on.set)
    events = stage.follow(tick_s=0.01)
    stage.finish()
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(numbers)
    assert len(numbers) > len(set(numbers))


def test_events_without_room_are_told_by_somebody_else_at_the_end() -> None:
    stage = Stage(FakeAnswer(WHOLE), room=100)
    assert stage.follow() == [{"type": "rest", "after": -1}]
    stage.finish()
    assert stage.room.shares.used == 0
    assert stage.kept.settled[0]["status"] == "completed"


def test_a_follower_who_has_all_is_told_no_more() -> None:
    stage = Stage(FakeAnswer(WHOLE))
    last = stage.follow()[-1]["sequence_number"]
    assert stage.follow(after=last) == []
    stage.finish()
