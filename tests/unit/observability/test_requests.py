import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.answers.chunks import Cause
from app.answers.summary import Summary
from app.backend.events import Usage
from app.observability.logs import JsonFormatter
from app.observability.requests import RequestRecord


class Lines(logging.Handler):
    """Keeps what was logged, as it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[dict[str, Any]] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    logger, handler = logging.getLogger("codex_api.http"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.written
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_the_line_is_written_once(lines: list[dict[str, Any]]) -> None:
    record = RequestRecord("req_1", "POST")
    record.write()
    record.status = 500
    record.write()
    assert [line["status"] for line in lines] == [0]
    assert record.is_written is True


def test_the_line_has_what_is_known_and_nothing_else(lines: list[dict[str, Any]]) -> None:
    RequestRecord("req_1", "GET", started=0.0).write()
    (line,) = lines
    assert line.pop("duration_ms") > 0
    assert list(line)[:5] == ["timestamp", "level", "component", "event", "worker_pid"]
    assert {name: line[name] for name in list(line)[5:]} == {
        "request_id": "req_1",
        "method": "GET",
        "route": "unmatched",
        "status": 0,
        "outcome": "completed",
    }
    assert (line["component"], line["event"]) == ("http", "request")


def test_everything_that_is_learned_is_on_the_line(lines: list[dict[str, Any]]) -> None:
    learned: dict[str, Any] = {
        "request_id": "req_1",
        "method": "POST",
        "route": "/v1/chat/completions",
        "key_name": "ann",
        "status": 200,
        "outcome": "client_left",
        "error_code": "WORKER_TIMEOUT",
        "model": "gpt",
        "stream": False,
        "finish_reason": "stop",
        "backend": "per_request",
        "thread_id": "thr",
        "generation": 2,
        "queue_ms": 0.0,
        "ttft_ms": 0,
        "prompt_tokens": 50,
        "cached_tokens": 3,
        "completion_tokens": 0,
        "reasoning_tokens": 1,
        "ignored_parameters": ["user"],
        "request_bytes": 7,
        "compressed_bytes": 5,
        "response_bytes": 9,
    }
    given = {**learned, "ignored_parameters": ("user",)}
    RequestRecord(**given).write()
    (line,) = lines
    assert {name: line[name] for name in learned} == learned


@pytest.mark.parametrize(("name", "value"), [("ttft_ms", 0), ("stream", False), ("status", 0)])
def test_zero_and_false_are_known(lines: list[dict[str, Any]], name: str, value: Any) -> None:
    RequestRecord("req_1", "POST", **{name: value}).write()
    assert lines[0][name] == value


def test_the_duration_is_from_the_start_to_the_writing() -> None:
    record = RequestRecord("req_1", "GET", started=time.monotonic() - 5)
    record.write()
    assert record.duration_ms == pytest.approx(5000, abs=2000)


def test_waits_add_up_and_bytes_add_up() -> None:
    record = RequestRecord("req_1", "POST")
    assert (record.queue_ms, record.response_bytes) == (None, None)
    record.note_wait(1.0, 1.25)
    record.note_wait(2.0, 2.5)
    record.count_bytes(3)
    record.count_bytes(4)
    assert (record.queue_ms, record.response_bytes) == (750.0, 7)


def summary_of(usage: Usage | None, cause: Cause | None) -> Summary:
    return Summary(
        thread_id="thr",
        turn_id="trn",
        generation=1,
        model="m",
        effort="low",
        ignored_parameters=(),
        upstream="demo",
        ttft_ms=7,
        duration_ms=9,
        usage=usage,
        usage_estimated=False,
        cause=cause,
    )


def test_an_answer_that_is_not_over_has_neither_an_end_nor_a_cost() -> None:
    record = RequestRecord("req_1", "POST")
    record.note_answer(summary_of(None, None), lambda cause: cause.value)
    assert (record.finish_reason, record.prompt_tokens) == (None, None)


def test_usage_is_four_figures() -> None:
    record = RequestRecord("req_1", "POST")
    record.note_answer(summary_of(Usage(5, 4, 3, 2, 8), Cause.CALLS), lambda cause: cause.value)
    assert (record.thread_id, record.ttft_ms, record.finish_reason) == ("thr", 7, "calls")
    tokens = (record.prompt_tokens, record.cached_tokens)
    assert (*tokens, record.completion_tokens, record.reasoning_tokens) == (5, 4, 3, 2)


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("WORKER_BUSY", "WORKER_BUSY"),
        ("string_above_max_length", "string_above_max_length"),
        ("what the prompt said", "other"),
        ("x" * 65, "other"),
        ("", "other"),
    ],
)
def test_an_upstreams_code_is_shown_only_if_it_is_a_word(
    lines: list[dict[str, Any]], code: str, shown: str
) -> None:
    RequestRecord("req_1", "POST", error_code=code).write()
    assert lines[0]["error_code"] == shown


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bool]] = []

    def stream_began(self, record: RequestRecord) -> None:
        self.heard.append(("began", record.is_streaming))

    def request_ended(self, record: RequestRecord) -> None:
        self.heard.append(("ended", record.is_written))


def test_listeners_hear_of_the_stream_and_of_the_end_once() -> None:
    ear = Ear()
    record = RequestRecord("req_1", "POST", listeners=[ear])
    record.begin_stream()
    record.write()
    record.write()
    assert ear.heard == [("began", True), ("ended", True)]
