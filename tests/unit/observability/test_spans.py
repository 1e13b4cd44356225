"""From the record of a request and the traces of its turns to spans, as plain data."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from app.observability.requests import RequestRecord
from app.observability.spans import (
    CLIENT,
    INTERNAL,
    SERVER,
    Finished,
    SpanData,
    SpanIds,
    spans_of,
)
from app.observability.traces import MAX_CALLS, Trace
from app.rpc.calls import CallReport

IDS = SpanIds("t", "request", "caller", "https")
USAGE = {"input": 10, "cached_input": 4, "output": 5, "reasoning_output": 2}


def record(**known: Any) -> RequestRecord:
    return RequestRecord(
        **{
            "request_id": "req_1",
            "method": "POST",
            "route": "/v1/chat/completions",
            "key_name": "ann",
            "status": 200,
            "model": "gpt-5.5",
            "stream": False,
            "finish_reason": "stop",
            "started": 100.0,
            "duration_ms": 5000.0,
            **known,
        }
    )


def trace(*, outcome: str = "completed", **known: Any) -> Trace:
    found = Trace("req_1", 101.0, 1.7e9, 42)
    found.note_call(CallReport("turn/start", {"model": "gpt-5.5"}, 101.5, 101.75, 20, 30, "ok"))
    found.end(104.0, outcome)
    found.document |= {"usage": USAGE, **known}
    return found


def made(*traces: Trace, of: RequestRecord | None = None, **more: Any) -> list[SpanData]:
    finished = Finished(of or record(), IDS, more.pop("waits", ()), traces, **more)
    numbers = count(1)
    spans = list(spans_of(finished, lambda: f"span-{next(numbers)}"))
    assert len(spans) == finished.span_count
    assert all(None not in span.attributes.values() for span in spans)
    return spans


def test_a_request_its_waits_its_turns_and_their_calls() -> None:
    spans = made(trace(), waits=[(100.5, 100.75)])
    assert [
        (s.name, s.kind, s.span_id, s.parent_id, s.started, s.ended, s.has_failed) for s in spans
    ] == [
        ("POST /v1/chat/completions", SERVER, "request", "caller", 100.0, 105.0, False),
        ("queue", INTERNAL, "span-1", "request", 100.5, 100.75, False),
        ("chat gpt-5.5", CLIENT, "span-2", "request", 101.0, 104.0, False),
        ("turn/start", CLIENT, "span-3", "span-2", 101.5, 101.75, False),
    ]
    assert {span.trace_id for span in spans} == {"t"}
    assert spans[3].attributes == {
        "rpc.system.name": "jsonrpc",
        "rpc.method": "turn/start",
        "codex.sent_bytes": 20,
        "codex.received_bytes": 30,
    }


def test_a_turn_that_ends_after_its_request_has_its_own_spans_alone() -> None:
    spans = made(trace(), is_late=True)
    assert [(span.name, span.parent_id) for span in spans] == [
        ("chat gpt-5.5", "request"),
        ("turn/start", "span-1"),
    ]


@pytest.mark.parametrize(
    ("known", "name", "attributes", "has_failed"),
    [
        ({}, "POST /v1/chat/completions", {"http.response.status_code": 200}, False),
        ({"method": "BREW"}, "HTTP /v1/chat/completions", {"http.request.method": "_OTHER"}, False),
        ({"route": "unmatched", "status": 404}, "POST", {"http.response.status_code": 404}, False),
        (
            {"status": 429, "outcome": "failed", "error_code": "WORKER_BUSY"},
            "POST /v1/chat/completions",
            {"error.type": "WORKER_BUSY", "codex.outcome": "failed"},
            False,
        ),
        (
            {"status": 503, "outcome": "failed", "error_code": "words of theirs"},
            "POST /v1/chat/completions",
            {"error.type": "other"},
            True,
        ),
        (
            {"outcome": "failed", "error_code": "UPSTREAM_ERROR", "stream": True},
            "POST /v1/chat/completions",
            {"error.type": "UPSTREAM_ERROR", "codex.stream": True},
            True,
        ),
        (
            {"outcome": "client_left", "status": 499},
            "POST /v1/chat/completions",
            {"error.type": "client_left"},
            False,
        ),
    ],
)
def test_how_a_request_ended(
    known: dict[str, Any], name: str, attributes: dict[str, Any], has_failed: bool
) -> None:
    (span,) = made(of=record(**known))
    assert (span.name, span.has_failed) == (name, has_failed)
    assert attributes.items() <= span.attributes.items()
    assert ("http.route" in span.attributes) == (known.get("route") != "unmatched")


def test_a_background_answer_has_nothing_of_http() -> None:
    (span,) = made(of=record(is_background=True, route="/v1/responses", outcome="cancelled"))
    assert (span.name, span.kind, span.has_failed) == ("background /v1/responses", INTERNAL, False)
    assert not [name for name in span.attributes if name.startswith(("http.re", "url"))]


def usage_of(span: SpanData) -> list[int | None]:
    names = ("input_tokens", "output_tokens", "cache_read.input_tokens", "reasoning.output_tokens")
    return [span.attributes.get(f"gen_ai.usage.{name}") for name in names]


@pytest.mark.parametrize(
    ("of_trace", "usage"),
    [
        ({}, [10, 5, 4, 2]),
        ({"kept_thread": "unknown"}, [10, 5, 4, 2]),
        # codex counts the tokens of the thread: those of this turn are the request's.
        ({"kept_thread": "kept"}, [7, 3, 1, 0]),
        ({"kept_thread": "kept", "outcome": "failed"}, [None] * 4),
        ({"usage": None}, [None] * 4),
    ],
)
def test_the_tokens_of_a_turn(of_trace: dict[str, Any], usage: list[int | None]) -> None:
    tokens = {"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 1, "reasoning_tokens": 0}
    assert usage_of(made(trace(**of_trace), of=record(**tokens))[1]) == usage


def test_how_a_turn_ended() -> None:
    answered = made(trace())[1].attributes
    assert answered["gen_ai.response.model"] == "gpt-5.5"
    assert answered["gen_ai.response.finish_reasons"] == ["stop"]
    failed = made(trace(outcome="failed", error_code="UPSTREAM_ERROR"))[1]
    assert failed.has_failed
    assert failed.attributes["error.type"] == "UPSTREAM_ERROR"
    assert "gen_ai.response.finish_reasons" not in failed.attributes
    left = made(trace(outcome="interrupted"))[1]
    assert not left.has_failed
    assert left.attributes["error.type"] == "interrupted"


def test_the_model_that_was_asked_and_the_one_that_answered() -> None:
    request, turn, *_ = made(trace(), of=record(model="x" * 300, requested_model="gpt-5.5"))
    assert turn.name == "chat gpt-5.5"
    assert turn.attributes["gen_ai.request.model"] == "gpt-5.5"
    assert turn.attributes["gen_ai.response.model"] == "x" * 200
    assert request.attributes["gen_ai.request.model"] == "gpt-5.5"


def test_a_call_that_fails_says_how_and_a_turn_has_a_bounded_number() -> None:
    turn = Trace("req_1", 101.0, 1.7e9, 42)
    for _ in range(MAX_CALLS + 5):
        turn.note_call(CallReport("thread/start", {}, 101.5, 101.75, 20, 0, "refused"))
    spans = made(turn, of=record(model=None))
    assert len(spans) == 1 + 1 + MAX_CALLS
    assert spans[1].name == "chat"
    assert spans[-1].attributes["error.type"] == "refused"
    assert spans[-1].has_failed
