"""What a trace keeps of a turn, from tables; and that it stays small whatever the turn was like."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.backends.app_server.parse_events import PARSERS
from app.observability.trace_content import Content
from app.observability.traces import (
    MAX_BYTES,
    MAX_CALLS,
    MAX_EVENTS,
    NOT_BEGUN,
    Trace,
    call_fields,
)
from app.rpc.calls import CallReport
from app.rpc.messages import Notification

CANARY = "canary-7f3a"
OURS = "turn-1"
STARTED = 1000.0
DELTA = "item/agentMessage/delta"
RAW = "rawResponseItem/completed"
TOKENS = {
    "inputTokens": 5,
    "cachedInputTokens": 1,
    "cacheWriteInputTokens": 4,
    "outputTokens": 3,
    "reasoningOutputTokens": 2,
    "totalTokens": 8,
}


def trace(*, content: bool = False) -> Trace:
    made = Trace("req_1", STARTED, 1_800_000_000.5, 7, Content() if content else None)
    made.document["turn_id"] = OURS
    return made


def call(
    method: str, params: Any = None, *, at: float = 0.0, took: float = 0.0, **more: Any
) -> CallReport:
    return CallReport(method, params, STARTED + at, STARTED + at + took, **more)


def event(method: str, size: int = 10, **params: Any) -> Notification:
    return Notification(method, {"threadId": "thread-1", "turnId": OURS, **params}, size)


def item(kind: Any, turn_id: str = OURS, **more: Any) -> Notification:
    return event(RAW, turnId=turn_id, item={"type": kind, **more})


def ended(**turn: Any) -> Notification:
    return event("turn/completed", turn={"id": OURS, "status": "completed", **turn})


def encode(made: Trace) -> bytes:
    return orjson.dumps(made.finished())


def heard(*events: tuple[float, Notification]) -> Trace:
    made = trace()
    for at, notification in events:
        made.note_event(notification, STARTED + at)
    return made


# Calls


def test_a_call_is_its_figures_and_its_status() -> None:
    made = trace()
    made.note_call(call("thread/start", at=0.0012, took=0.0105, sent=10, received=20, status="ok"))
    made.note_call(call("turn/start", at=0.02, took=10.0, sent=30))
    assert made.finished()["calls"] == [
        {
            "method": "thread/start",
            "at_ms": 1.2,
            "duration_ms": 10.5,
            "sent_bytes": 10,
            "received_bytes": 20,
            "status": "ok",
        },
        {
            "method": "turn/start",
            "at_ms": 20.0,
            "duration_ms": 10000.0,
            "sent_bytes": 30,
            "received_bytes": 0,
            "status": "failed",
        },
    ]


ASKED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("thread/start", {"model": "gpt"}, {"model": "gpt", "tools": 0}),
    (
        "thread/start",
        {"model": "gpt", "dynamicTools": [{"name": CANARY}, {}], "baseInstructions": CANARY},
        {"model": "gpt", "tools": 2},
    ),
    (
        "thread/inject_items",
        {
            "items": [
                {"type": "message", "role": "user", "content": CANARY},
                {"type": "message", "role": "user", "content": []},
                {"type": "message", "role": CANARY},
                {"type": "function_call", "name": CANARY, "arguments": CANARY},
                {"type": CANARY},
                CANARY,
            ]
        },
        {"items": {"message user": 2, "message": 1, "function_call": 1, "other": 2}},
    ),
    ("turn/start", {"input": []}, {"options": {}, "has_schema": False}),
    (
        "turn/start",
        {"effort": "low", "serviceTier": "flex", "outputSchema": {"title": CANARY}, "x": CANARY},
        {"options": {"effort": "low", "serviceTier": "flex"}, "has_schema": True},
    ),
    ("thread/unsubscribe", {"threadId": CANARY}, {}),
    ("anything/else", {"x": CANARY}, {}),
]


@pytest.mark.parametrize(("method", "params", "kept"), ASKED)
def test_of_parameters_only_counts_and_names_are_kept(
    method: str, params: dict[str, Any], kept: dict[str, Any]
) -> None:
    made = trace()
    made.note_call(call(method, params))
    assert call_fields(method, params) == kept
    assert kept.items() <= made.finished().items()
    assert CANARY.encode() not in encode(made)


# Events


def test_events_of_a_kind_are_one_entry() -> None:
    made = heard(
        (0.5, event(DELTA, 100)),
        (0.6, event(DELTA, 50)),
        (0.75, event(DELTA, 50)),
        (0.8, event("item/reasoning/textDelta", 9, delta="x")),
        (0.9, event(DELTA, 1)),
    )
    assert made.finished()["events"] == [
        {"method": DELTA, "at_ms": 500.0, "over_ms": 400.0, "count": 4, "bytes": 201},
        {
            "method": "item/reasoning/textDelta",
            "at_ms": 800.0,
            "over_ms": 0.0,
            "count": 1,
            "bytes": 9,
        },
    ]


def test_items_are_told_apart_by_kind_and_by_who_made_them() -> None:
    made = heard(
        (0.1, item("message", "auto-compact-0", role="developer")),
        (0.1, item("message", "auto-compact-0", role="developer")),
        (0.2, item("function_call", "auto-compact-0")),
        (0.3, item("function_call")),
        (0.4, item(CANARY)),
        (0.4, item(["canary"])),
        (0.5, event(RAW, item=CANARY)),
    )
    shown = [
        (entry["item"], entry.get("injected", False), entry["count"])
        for entry in made.finished()["events"]
    ]
    assert shown == [
        ("message developer", True, 2),
        ("function_call", True, 1),
        ("function_call", False, 1),
        ("other", False, 3),
    ]


def test_the_first_event_is_the_models_first() -> None:
    echo = item("message", "auto-compact-0", role="user")
    assert heard((0.1, echo)).finished()["first_event_ms"] is None
    assert heard((0.1, echo), (0.25, event(DELTA))).finished()["first_event_ms"] == 250.0


FACTS: list[tuple[Notification, dict[str, Any]]] = [
    (
        event("thread/tokenUsage/updated", tokenUsage={"total": TOKENS}),
        {
            "usage": {
                "input": 5,
                "cached_input": 1,
                "cache_write_input": 4,
                "output": 3,
                "reasoning_output": 2,
                "total": 8,
            },
            "failure": None,
        },
    ),
    (ended(), {"usage": None, "failure": None}),
    (
        ended(status="failed", error={"message": CANARY, "codexErrorInfo": "unauthorized"}),
        {"failure": {"kind": "unauthorized", "http_status": None}},
    ),
    (
        ended(
            status="failed",
            error={
                "message": CANARY,
                "codexErrorInfo": {"httpConnectionFailed": {"httpStatusCode": 503, "x": CANARY}},
            },
        ),
        {"failure": {"kind": "httpConnectionFailed", "http_status": 503}},
    ),
    (
        ended(status="failed", error={"message": "", "codexErrorInfo": CANARY}),
        {"failure": {"kind": "other", "http_status": None}},
    ),
    (
        event("error", willRetry=True, error={"message": CANARY, "codexErrorInfo": "other"}),
        {"failure": {"kind": "other", "http_status": None}},
    ),
    (event("error", willRetry=False, error={"message": CANARY}), {"failure": None}),
]


@pytest.mark.parametrize(("notification", "facts"), FACTS)
def test_the_end_is_kept_without_its_sentence(
    notification: Notification, facts: dict[str, Any]
) -> None:
    made = heard((1.0, notification))
    document = made.finished()
    assert {name: document[name] for name in facts} == facts
    assert CANARY.encode() not in encode(made)


@pytest.mark.parametrize("method", sorted(PARSERS))
def test_no_event_leaves_a_word(method: str) -> None:
    full: dict[str, Any] = {
        "delta": CANARY,
        "itemId": CANARY,
        "item": {"type": "message", "role": "assistant", "content": [{"text": CANARY}]},
        "tokenUsage": {"total": TOKENS, "model": CANARY},
        "usage": TOKENS,
        "turn": {"id": OURS, "status": "failed", "error": {"message": CANARY}},
        "willRetry": True,
        "error": {"message": CANARY, "additionalDetails": CANARY},
    }
    made = heard((0.1, event(method, **full)))
    assert [entry["method"] for entry in made.finished()["events"]] == [method]
    assert CANARY.encode() not in encode(made)


# Bounds


def test_beyond_its_bounds_a_trace_only_counts() -> None:
    made = trace()
    for number in range(MAX_CALLS + 3):
        made.note_call(call("turn/interrupt", at=number))
    for number in range(MAX_EVENTS + 5):
        made.note_event(item("reasoning", f"turn-{number}"), STARTED + number)
    made.note_event(item("reasoning", "turn-0"), STARTED + 500)
    document = made.finished()
    assert (len(document["calls"]), len(document["events"])) == (MAX_CALLS, MAX_EVENTS)
    assert document["omitted"] == {"calls": 3, "events": 5, "bytes": 50}
    assert (document["events"][0]["count"], document["events"][0]["over_ms"]) == (2, 500_000.0)


def test_a_long_answer_is_one_short_entry() -> None:
    made = trace()
    for number in range(10_000):
        made.note_event(event(DELTA, 240), STARTED + number)
    assert [entry["count"] for entry in made.finished()["events"]] == [10_000]
    assert len(encode(made)) < 1000


@pytest.mark.parametrize("content", [False, True])
def test_pieces_that_came_together_count_like_single_ones(content: bool) -> None:
    together, single = trace(content=content), trace(content=content)
    for made in (together, single):
        made.note_event(event(DELTA, 240, delta="a"), STARTED + 1)
    together.note_text(["b", "c"], 480, STARTED + 2)
    for text in "bc":
        single.note_event(event(DELTA, 240, delta=text), STARTED + 2)
    assert together.finished() == single.finished()
    assert together.finished()["events"][0]["count"] == 3


LONG_TEXTS = [
    "a" * 100_000,
    "\0" * 100_000,
    "\N{GRINNING FACE}" * 50_000,
    '\\"' * 50_000,
    "\ud800" * 99,
]


@pytest.mark.parametrize(
    "text", LONG_TEXTS, ids=["ascii", "control", "emoji", "quotes", "surrogate"]
)
def test_the_largest_trace_fits(text: str) -> None:
    made = trace(content=True)
    made.document["request_id"] = "r" * 128
    kinds = ("message", "reasoning", "function_call", "function_call_output", "web_search_call")
    items = [{"type": kind, "role": "user", "arguments": text, "c": [text]} for kind in kinds]
    made.note_call(call("thread/start", {"model": "m" * 64, "dynamicTools": items * 40}))
    made.note_call(call("thread/inject_items", {"items": items * 400}))
    for number in range(MAX_CALLS):
        made.note_call(call("thread/inject_items", at=1e6 + number, took=1e5, sent=10**9))
    for number in range(2000):
        now = STARTED + 1e6 + number
        made.note_event(event(DELTA, 10**8, delta=text), now)
        made.note_event(event("item/reasoning/textDelta", 10**8, delta=text), now)
        made.note_event(item("function_call_output", f"elsewhere-{number}"), now)
        made.note_event(item("function_call", arguments=text, name=text), now)
    line = encode(made)
    assert 10_000 < len(line) <= MAX_BYTES
    document = orjson.loads(line)
    assert document["omitted"]["calls"] == 2
    assert document["omitted"]["events"] == 2000 - (MAX_EVENTS - 3)
    assert document["content"]["answer"].endswith(" more characters]")


# The whole


def test_a_trace_of_nothing_is_whole() -> None:
    document = Trace("req_1", STARTED, 1_800_000_000.5, 7).finished()
    assert document == {
        "format": 1,
        "request_id": "req_1",
        "thread_id": None,
        "turn_id": None,
        "at": "2027-01-15T08:00:00.500+00:00",
        "worker_pid": 7,
        "backend": None,
        "generation": None,
        "route": "unmatched",
        "stream": None,
        "model": None,
        "outcome": NOT_BEGUN,
        "error_code": None,
        "failure": None,
        "usage": None,
        "queue_ms": None,
        "first_event_ms": None,
        "duration_ms": None,
        "calls": [],
        "events": [],
        "omitted": {"calls": 0, "events": 0, "bytes": 0},
    }
