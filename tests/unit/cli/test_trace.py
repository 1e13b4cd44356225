"""A trace as a person reads it."""

from __future__ import annotations

from typing import Any

import pytest

from app.cli.trace import table, timeline
from app.observability.trace_content import Content
from app.observability.trace_files import Stored, summary
from app.observability.traces import Trace
from app.rpc.calls import CallReport
from app.rpc.messages import Notification

IDS = {"threadId": "th", "turnId": "tu"}


def trace(*, content: bool = False) -> Trace:
    """A small turn: two calls, an echo, three deltas."""
    made = Trace("req_1", 10.0, 1_800_000_000.0, 7, Content() if content else None)
    made.document |= {"thread_id": "th", "turn_id": "tu", "generation": 2}
    made.document |= {"route": "/v1/chat/completions", "stream": True}
    made.end(11.5, "completed")
    items = [{"type": "message", "role": "user", "content": "hi"}]
    start = {"model": "gpt", "dynamicTools": [{"name": "f"}]}
    made.note_call(CallReport("thread/start", start, 10.0, 10.01, 50, 90, "ok"))
    made.note_call(CallReport("thread/inject_items", {"items": items}, 10.02, 10.03, 60, 20, "ok"))
    echo = {"item": items[0], "turnId": "before"}
    made.note_event(Notification("rawResponseItem/completed", echo, 33), 10.025)
    for number, delta in enumerate(("hel", "lo\n\x1b[2J", "bye")):
        said = Notification("item/agentMessage/delta", {**IDS, "delta": delta}, 100)
        made.note_event(said, 10.5 + number / 10)
    made.note_call(CallReport("turn/start", {"effort": "low"}, 10.04, 10.06, 70, 30, "ok"))
    return made


def lines(made: Trace) -> list[str]:
    return list(timeline(made.finished()))


def test_a_turn_is_what_was_asked_and_then_what_happened_in_order() -> None:
    assert lines(trace()) == [
        "request_id      req_1",
        "thread_id       th",
        "turn_id         tu",
        "at              2027-01-15T08:00:00.000+00:00",
        "worker_pid      7",
        "generation      2",
        "route           /v1/chat/completions",
        "stream          True",
        "model           gpt",
        "outcome         completed",
        "first_event_ms  500.0",
        "duration_ms     1500.0",
        "omitted         calls 0, events 0, bytes 0",
        "tools           1",
        "items           message user 1",
        "options         effort low",
        "has_schema      False",
        "",
        "    AT MS    TOOK MS",
        "      0.0       10.0  call   thread/start                            ok, sent 50, received 90 bytes",
        "     20.0       10.0  call   thread/inject_items                     ok, sent 60, received 20 bytes",
        "     25.0             echo   rawResponseItem/completed message user  1 x, 33 bytes",
        "     40.0       20.0  call   turn/start                              ok, sent 70, received 30 bytes",
        "    500.0      200.0  event  item/agentMessage/delta                 3 x, 300 bytes",
    ]


def test_a_failure_and_what_was_left_out_are_said() -> None:
    made = trace()
    error = {"message": "not shown", "codexErrorInfo": {"badGateway": {"httpStatusCode": 502}}}
    failed = {"threadId": "th", "turn": {"id": "tu", "status": "failed", "error": error}}
    counts = ("inputTokens", "cachedInputTokens", "outputTokens", "reasoningOutputTokens")
    total = dict(zip(counts, (5, 1, 3, 2), strict=True)) | {"totalTokens": 8}
    usage = {**IDS, "tokenUsage": {"total": total}}
    made.note_event(Notification("thread/tokenUsage/updated", usage, 10), 11.0)
    made.note_event(Notification("turn/completed", failed, 10), 11.0)
    made.document |= {"outcome": "failed", "error_code": "UPSTREAM_ERROR", "duration_ms": None}
    made._omitted.update(events=4, bytes=99)
    said = lines(made)
    assert "outcome         failed" in said
    assert "error_code      UPSTREAM_ERROR" in said
    assert "failure         kind badGateway, http_status 502" in said
    assert "usage           input 5, cached_input 1, output 3, reasoning_output 2, total 8" in said
    assert "omitted         calls 0, events 4, bytes 99" in said
    assert not any(line.startswith("duration_ms") for line in said)
    assert "not shown" not in "\n".join(said)


def test_words_come_last_and_cannot_command_the_terminal() -> None:
    said = lines(trace(content=True))
    assert said[-10:] == [
        "",
        "  prompt",
        '    {"type":"message","role":"user","content":"hi"}',
        "",
        "  tools",
        '    {"name":"f"}',
        "",
        "  answer",
        "    hello",
        "    \N{REPLACEMENT CHARACTER}[2Jbye",
    ]
    assert "\x1b" not in "".join(said)


def test_words_in_a_prompt_cannot_command_the_terminal() -> None:
    """JSON escapes only half of the characters that do."""
    made = trace(content=True)
    items = [{"content": "\x1b[2J \x9b2J \u202e"}]
    made.note_call(CallReport("thread/inject_items", {"items": items}))
    mark = "\N{REPLACEMENT CHARACTER}"
    assert f'    {{"content":"\\u001b[2J {mark}2J {mark}"}}' in lines(made)


def test_a_turn_that_never_began_is_shown() -> None:
    made = Trace("req_1", 10.0, 1_800_000_000.0, 7)
    made.note_call(CallReport("thread/start", {"model": "gpt"}, 10.0, 20.0, 50))
    assert "outcome     not_begun" in lines(made)
    assert lines(made)[-1].split() == [
        "0.0",
        "10000.0",
        "call",
        "thread/start",
        "failed,",
        "sent",
        "50,",
        "received",
        "0",
        "bytes",
    ]


ROWS: list[tuple[dict[str, Any], str]] = [
    ({}, "2027-01-15T08:00:00.000+00:00  req_1    gpt    completed     1500.0"),
    (
        {"outcome": "failed", "error_code": "X"},
        "2027-01-15T08:00:00.000+00:00  req_1    gpt    failed X   1500.0",
    ),
]


@pytest.mark.parametrize(("known", "row"), ROWS)
def test_the_list_has_a_line_for_each(known: dict[str, Any], row: str) -> None:
    heading, line = table([summary(Stored(trace().finished(), 100)) | known])
    assert heading.split() == ["AT", "REQUEST", "MODEL", "OUTCOME", "MS"]
    assert line.split() == row.split()
