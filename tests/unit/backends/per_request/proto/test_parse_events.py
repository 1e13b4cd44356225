"""Events of `codex proto`, as 0.42 sends them, and the turn's events that they become."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.answers.chunks import Cause
from app.answers.turn_errors import end_cause, to_error
from app.backend.account import AccountWindow
from app.backend.events import (
    Event,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    Retrying,
    TextDelta,
    TurnEnded,
    TurnFailure,
    TurnStatus,
    Usage,
    UsageUpdated,
)
from app.backends.app_server.parse_events import MESSAGE_CHARS, ProtocolError
from app.backends.per_request.proto.parse_events import (
    TurnEvents,
    failure,
    parse_line,
    parse_session,
    parse_windows,
)

LAST = {
    "input_tokens": 7,
    "cached_input_tokens": 2,
    "output_tokens": 3,
    "reasoning_output_tokens": 1,
    "total_tokens": 10,
}
USAGE = Usage(7, 2, 3, 1, 10)


def tokens(total: dict[str, int] | None, **more: Any) -> dict[str, Any]:
    info = None if total is None else {"total_token_usage": total, "last_token_usage": LAST}
    return {"type": "token_count", "info": info, **more}


def parsed(*messages: dict[str, Any]) -> list[Event]:
    events = TurnEvents("s")
    return [event for message in messages for event in events.parse(message)]


def text(delta: str) -> dict[str, Any]:
    return {"type": "agent_message_delta", "delta": delta}


def whole(said: str) -> dict[str, Any]:
    return {"type": "agent_message", "message": said}


def item(number: int, said: str) -> RawItem:
    part = {"type": "output_text", "text": said, "annotations": []}
    head = {"type": "message", "id": f"msg_s_{number}", "role": "assistant", "content": [part]}
    return RawItem({**head, "status": "completed"})


def test_a_line_is_an_id_and_a_message() -> None:
    assert parse_line(b'{"id":"1","msg":{"type":"x"}}') == ("1", {"type": "x"})
    for line in (b"{", b"[]", b'{"id":1,"msg":{}}', b'{"id":"1"}', b'{"id":"1","msg":"x"}'):
        with pytest.raises(ProtocolError):
            parse_line(line)


def test_a_session_has_an_id() -> None:
    assert parse_session({"session_id": "a-b"}) == "a-b"
    with pytest.raises(ProtocolError):
        parse_session({"session_id": None})


def test_messages_are_numbered_and_end_whole() -> None:
    assert parsed(text("a"), text("b"), whole("ab"), text("c"), whole("c"), whole("d")) == [
        TextDelta("msg_s_0", "a"),
        TextDelta("msg_s_0", "b"),
        item(0, "ab"),
        TextDelta("msg_s_1", "c"),
        item(1, "c"),
        item(2, "d"),
    ]


def test_paragraphs_of_reasoning_are_parts() -> None:
    found = parsed(
        {"type": "agent_reasoning_delta", "delta": "a"},
        {"type": "agent_reasoning_section_break"},
        {"type": "agent_reasoning_delta", "delta": "b"},
        {"type": "agent_reasoning", "text": "a"},  # what was told in pieces
        {"type": "agent_reasoning", "text": "b"},
        {"type": "agent_reasoning_raw_content_delta", "delta": "c"},
    )
    assert found == [
        ReasoningDelta("a", "0"),
        ReasoningDelta("b", "1"),
        ReasoningDelta("c", "1", is_summary=False),
    ]


def test_reasoning_that_came_whole_is_told() -> None:
    one, two = ({"type": "agent_reasoning", "text": word} for word in "ab")
    assert parsed(one, two) == [ReasoningDelta("a", "1"), ReasoningDelta("b", "2")]


def test_tokens_are_counted_once_for_each_response() -> None:
    twice = {name: 2 * count for name, count in LAST.items()}
    found = parsed(tokens(None), tokens(LAST), tokens(LAST, rate_limits={}), tokens(twice))
    assert found == [
        UsageUpdated(USAGE),
        ResponseCompleted(USAGE),
        UsageUpdated(USAGE + USAGE),
        ResponseCompleted(USAGE),
    ]


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"type": "task_complete", "last_agent_message": "a"}, TurnEnded(TurnStatus.COMPLETED)),
        ({"type": "turn_aborted", "reason": "interrupted"}, TurnEnded(TurnStatus.INTERRUPTED)),
        ({"type": "error", "message": "m"}, TurnEnded(TurnStatus.FAILED, TurnFailure("m"))),
        ({"type": "error"}, TurnEnded(TurnStatus.FAILED, TurnFailure(""))),
        ({"type": "stream_error", "message": "m"}, Retrying(TurnFailure("m"))),
        (
            {"type": "exec_approval_request", "command": ["id"]},
            TurnEnded(TurnStatus.FAILED, TurnFailure("", "tooManyDenials")),
        ),
    ],
)
def test_ends(message: dict[str, Any], event: Event) -> None:
    assert parsed(message) == [event]


@pytest.mark.parametrize(
    "kind", ["task_started", "exec_command_begin", "plan_update", "of_tomorrow", None]
)
def test_what_is_not_known_says_nothing(kind: str | None) -> None:
    assert parsed({"type": kind}) == []


@pytest.mark.parametrize(
    "message",
    [
        {"type": "agent_message_delta"},
        {"type": "agent_message", "message": 1},
        {"type": "token_count", "info": {"total_token_usage": {}}},
        {"type": "agent_reasoning_delta", "delta": None},
    ],
)
def test_what_its_own_schema_does_not_allow(message: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        parsed(message)


BODY = json.dumps({"error": {"message": "Invalid value: 'x'.", "code": "invalid_value"}})


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (f"unexpected status 400 Bad Request: {BODY}", "invalid_value"),
        (f"unexpected status 403 Forbidden: {BODY}", "UPSTREAM_FORBIDDEN"),
        ("unexpected status 404 Not Found: ", "model_not_found"),
        ("exceeded retry limit, last status: 429 Too Many Requests", "rate_limit_exceeded"),
        ("exceeded retry limit, last status: 401 Unauthorized", "UPSTREAM_AUTH"),
        ("exceeded retry limit, last status: 503 Service Unavailable", "UPSTREAM_ERROR"),
        ("You've hit your usage limit. Try again in 3 days.", "insufficient_quota"),
        ("We're currently experiencing high demand, which may cause", "UPSTREAM_ERROR"),
        ("Codex ran out of room in the model's context window.", "context_length_exceeded"),
        ("stream disconnected before completion: stream closed", "UPSTREAM_ERROR"),
        ("error sending request for url (http://upstream/v1)", "UPSTREAM_ERROR"),
        (
            "stream disconnected before completion: Your input exceeds the context window of this model.",
            "context_length_exceeded",
        ),
    ],
)
def test_its_sentences_are_the_errors_of_the_other_dialect(said: str, code: str) -> None:
    error = to_error(failure(said))
    assert error.code == code
    assert "upstream/v1" not in error.message


def test_a_failure_is_bounded() -> None:
    (ended,) = parsed({"type": "error", "message": "x" * (2 * MESSAGE_CHARS)})
    assert isinstance(ended, TurnEnded)
    assert ended.failure is not None
    assert len(ended.failure.message) == MESSAGE_CHARS


def test_an_end_is_a_cause() -> None:
    (ended,) = parsed({"type": "task_complete"})
    assert isinstance(ended, TurnEnded)
    assert end_cause(ended) is Cause.FINISHED


@pytest.mark.parametrize(
    ("limits", "windows"),
    [
        (None, {}),
        ({"primary": None, "secondary": 7}, {}),
        (
            {"primary": {"used_percent": 41.6, "window_minutes": 300, "resets_in_seconds": 60}},
            {"primary": AccountWindow(42, 300, 1060)},
        ),
        ({"secondary": {"used_percent": 1}}, {"secondary": AccountWindow(1)}),
        ({"primary": {"used_percent": "x"}}, {}),
    ],
)
def test_windows_of_the_account(limits: Any, windows: dict[str, AccountWindow]) -> None:
    assert parse_windows({"type": "token_count", "rate_limits": limits}, 1000.5) == windows
