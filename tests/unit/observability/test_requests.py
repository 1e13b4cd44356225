import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

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
        "thread_id": "thr",
        "generation": 2,
        "ttft_ms": 0,
        "prompt_tokens": 50,
        "completion_tokens": 0,
        "ignored_parameters": ["user"],
    }
    given = {**learned, "ignored_parameters": ("user",)}
    RequestRecord(**given).write()
    (line,) = lines
    assert {name: line[name] for name in learned} == learned


@pytest.mark.parametrize(("name", "value"), [("ttft_ms", 0), ("stream", False), ("status", 0)])
def test_zero_and_false_are_known(lines: list[dict[str, Any]], name: str, value: Any) -> None:
    RequestRecord("req_1", "POST", **{name: value}).write()
    assert lines[0][name] == value
