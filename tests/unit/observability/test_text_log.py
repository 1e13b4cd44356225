"""Lines of the log for a person: what they say, what they leave out, and what cannot steer a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

from app.observability.logs import log_config
from app.observability.text_log import QuietHealth, TextFormatter

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
REQUEST: dict[str, Any] = {
    "method": "POST",
    "route": "/v1/chat/completions",
    "status": 200,
    "outcome": "completed",
    "finish_reason": "stop",
    "model": "gpt-5.5",
    "ttft_ms": 13,
    "duration_ms": 1890.6,
    "prompt_tokens": 33,
    "completion_tokens": 55,
    "key_name": "default",
    "request_id": "req_1",
    "worker_generation": 1,
}


def record(event: str, name: str = "codex_api.http", **members: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": name, "levelname": "INFO", "msg": event, "created": 1_700_000_000.25} | members
    )


def line(event: str, name: str = "codex_api.http", *, colours: bool = False, **members: Any) -> str:
    return TextFormatter(STANDARD, colours=colours).format(record(event, name, **members))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {},
            "POST /v1/chat/completions 200 stop gpt-5.5 (1891 ms, first token 13 ms) 33+55 tokens  key_name=default",
        ),
        (
            {
                "error_code": "TURN_FAILED",
                "outcome": "failed",
                "finish_reason": None,
                "ttft_ms": None,
            },
            "POST /v1/chat/completions 200 TURN_FAILED failed gpt-5.5 (1891 ms) 33+55 tokens  key_name=default",
        ),
        (
            {name: None for name in REQUEST if name not in {"method", "route", "status"}},
            "POST /v1/chat/completions 200",
        ),
    ],
)
def test_a_request_is_one_line(changed: dict[str, Any], told: str) -> None:
    assert line("request", **REQUEST | changed).split("  ", 1)[1] == told


def test_another_event_has_its_fields_behind_it() -> None:
    said = line("child_ready", "codex_api.process", child="codex", handshake_ms=341, reason="a b")
    assert (
        said.split("  ", 1)[1] == 'process: child_ready  child=codex handshake_ms=341 reason="a b"'
    )
    assert line("Booting worker", "gunicorn.error").split("  ", 1)[1] == "gunicorn: Booting worker"


def test_a_failure_is_named_and_its_words_are_not() -> None:
    try:
        int("the prompt")
    except ValueError:
        said = line("unforeseen_error", exc_info=sys.exc_info())
    assert "exception=ValueError" in said
    assert "prompt" not in said


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\r", "\u2028", "\x07", "\u202e", "\x9b1m"])
def test_nothing_that_is_logged_steers_the_terminal(text: str) -> None:
    for said in (line("it_happened", reason=text), line(text), line("request", route=text)):
        assert said.isprintable()


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"levelname": "WARNING"}, "33"),
        ({"levelname": "ERROR"}, "31"),
        ({"error_code": "X"}, "33"),
        ({"outcome": "failed"}, "33"),
    ],
)
def test_what_is_wrong_has_a_colour(members: dict[str, Any], code: str) -> None:
    assert f"\x1b[{code}m" in line("request", colours=True, **members)
    assert f"\x1b[{code}m" not in line("request", colours=True)


@pytest.mark.parametrize(
    ("members", "is_shown"),
    [
        ({"route": "/livez", "status": 200}, False),
        ({"route": "/metrics", "status": 200}, False),
        ({"route": "/readyz", "status": 503}, True),
        ({"route": "/v1/models", "status": 200}, True),
    ],
)
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_good_health_checks_are_details(
    members: dict[str, Any], is_shown: bool, level: str
) -> None:
    name = f"codex_api.test_{level}"
    logging.getLogger(name).setLevel(level)
    seen = QuietHealth().filter(record("request", name, **members))
    assert seen is (is_shown or level == "DEBUG")
    assert QuietHealth().filter(record("child_ready", name, **members))


@pytest.mark.parametrize(
    ("form", "formatter", "filters"),
    [("json", "json", []), ("text", "text", ["health"]), ("auto", "json", [])],
)
def test_the_format_is_what_was_set(form: str, formatter: str, filters: list[str]) -> None:
    handler = log_config("info", form)["handlers"]["stdout"]
    assert (handler["formatter"], handler["filters"]) == (formatter, filters)
