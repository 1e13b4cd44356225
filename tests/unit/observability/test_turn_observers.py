"""From what happens to a turn to its trace: when it is handed over, and what it knows by then."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from app.backend.events import TextDelta, TurnEnded, TurnStatus
from app.backend.observer import TurnFacts
from app.backends.app_server.parse_events import ThreadId, TurnId
from app.backends.app_server.turn import Turn
from app.errors import SlowReader, UpstreamError, WorkerTimeout
from app.observability.metrics import Metrics
from app.observability.requests import RequestRecord
from app.observability.trace_buffer import TraceBuffer
from app.observability.traces import NOT_BEGUN, Trace
from app.observability.turn_observers import HttpRequestObserver, TracingObserver
from app.rpc.calls import CallReport
from app.rpc.messages import Notification

THREAD, TURN = ThreadId("thread-1"), TurnId("turn-1")


class Kept(TraceBuffer):
    """A buffer that keeps what is handed over."""

    def __init__(self, *, is_on: bool = True) -> None:
        super().__init__(Path("nowhere"), lambda: None, is_on=is_on)
        self.traces: list[Trace] = []

    def add(self, trace: Trace) -> None:
        self.traces.append(trace)


class Story:
    """One turn, told step by step."""

    def __init__(self) -> None:
        self.buffer = Kept()
        self.metrics = Metrics()
        self.record = RequestRecord(
            "req_1", "POST", route="/v1/x", stream=True, backend="app_server", queue_ms=1.5
        )
        observer = HttpRequestObserver(self.record, self.metrics, self.buffer).turn()
        assert isinstance(observer, TracingObserver)
        self.observer = observer

    def call(self, method: str, status: str = "ok") -> None:
        self.observer.called(CallReport(method, {}, 1.0, 2.0, 10, 10, status))

    def begin(self) -> Turn:
        self.call("thread/start")
        return Turn(THREAD, 3, lambda _: None, observer=self.observer)

    def tell(self, turn: Turn, event: Any) -> None:
        params = {"threadId": THREAD, "turnId": TURN, "delta": "x", "itemId": "i"}
        self.observer.notified(Notification("item/agentMessage/delta", params, 100))
        turn.deliver(TURN, event)

    def end(self, facts: TurnFacts) -> dict[str, Any]:
        """The thread is unsubscribed: nothing was handed over before."""
        assert self.buffer.traces == []
        self.call("thread/unsubscribe")
        self.observer.closed(facts)
        return self.trace()

    def trace(self) -> dict[str, Any]:
        (trace,) = self.buffer.traces
        return trace.finished()


def test_a_whole_turn() -> None:
    story = Story()
    turn = story.begin()
    story.call("turn/start")
    story.tell(turn, TextDelta("i", "x"))
    story.tell(turn, TurnEnded(TurnStatus.COMPLETED))
    trace = story.end(turn.facts)
    assert (trace["thread_id"], trace["turn_id"]) == (THREAD, TURN)
    assert (trace["backend"], trace["generation"]) == ("app_server", 3)
    assert (trace["outcome"], trace["error_code"]) == ("completed", None)
    assert (trace["route"], trace["stream"], trace["queue_ms"]) == ("/v1/x", True, 1.5)
    assert [call["method"] for call in trace["calls"]] == [
        "thread/start",
        "turn/start",
        "thread/unsubscribe",
    ]
    assert [event["count"] for event in trace["events"]] == [2]
    assert trace["duration_ms"] >= trace["first_event_ms"] >= 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SlowReader("x"), "SLOW_READER"),
        (UpstreamError("x", code="their_own"), "their_own"),
        (UpstreamError("x", code="two words"), "other"),
    ],
)
def test_a_turn_that_we_ended_says_why(error: Any, code: str) -> None:
    story = Story()
    turn = story.begin()
    turn.fail(error)
    trace = story.end(turn.facts)
    assert (trace["outcome"], trace["error_code"]) == ("failed", code)


def test_a_turn_that_was_closed_has_the_error_of_its_request() -> None:
    story = Story()
    turn = story.begin()
    turn.close()
    story.record.error_code = WorkerTimeout.default_code
    trace = story.end(turn.facts)
    assert (trace["outcome"], trace["error_code"]) == ("abandoned", "WORKER_TIMEOUT")


@pytest.mark.parametrize("status", ["refused", "failed"])
def test_without_a_thread_the_failed_call_is_the_end(status: str) -> None:
    story = Story()
    story.record.error_code = WorkerTimeout.default_code
    story.call("thread/start", status)
    trace, (call,) = story.trace(), story.trace()["calls"]
    assert (trace["outcome"], trace["thread_id"]) == (NOT_BEGUN, None)
    assert (trace["error_code"], trace["route"]) == ("WORKER_TIMEOUT", "/v1/x")
    assert trace["duration_ms"] == pytest.approx(call["at_ms"] + call["duration_ms"])


def test_a_call_that_fails_later_is_not_the_end() -> None:
    story = Story()
    turn = story.begin()
    story.call("thread/inject_items", "refused")
    turn.close()
    assert [call["status"] for call in story.end(turn.facts)["calls"]] == ["ok", "refused", "ok"]


def test_a_trace_is_handed_over_once() -> None:
    story = Story()
    turn = story.begin()
    turn.close()
    story.end(turn.facts)
    story.observer.closed(turn.facts)
    assert len(story.buffer.traces) == 1


def test_no_turn_is_kept() -> None:
    """The turn holds its observer: were it held in return, only a collection would free both."""
    story = Story()
    turn = story.begin()
    turn.close()
    story.tell(turn, TextDelta("i", "x"))  # the id of the turn is not known before
    known, facts = weakref.ref(turn), turn.facts
    gc.disable()
    try:
        del turn
        assert known() is None
    finally:
        gc.enable()
    assert story.end(facts)["turn_id"] == TURN


def test_switched_off_a_turn_is_only_counted() -> None:
    metrics, buffer = Metrics(), Kept(is_on=False)
    observer = HttpRequestObserver(RequestRecord("req_1", "POST"), metrics, buffer).turn()
    observer.called(CallReport("thread/start", {}))
    turn = Turn(THREAD, 1, lambda _: None, observer=observer)
    turn.close()
    observer.closed(turn.facts)
    assert buffer.traces == []
    series = {"outcome": "abandoned", "backend": "app_server"}
    assert metrics.registry.get_sample_value("codex_turns_total", series) == 1
