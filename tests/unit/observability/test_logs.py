import json
import logging
import os
import re
import sys
from typing import Any, NoReturn

import pytest

from app.observability.logs import GunicornFilter, JsonFormatter, StdoutHandler, log_config


def line(name: str = "codex_api.rpc", **members: Any) -> str:
    record = logging.makeLogRecord(
        {"name": name, "levelname": "INFO", "msg": "it_happened", "created": 1_700_000_000.25}
        | members
    )
    return JsonFormatter().format(record)


def entry(name: str = "codex_api.rpc", **members: Any) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(line(name, **members))
    return parsed


def test_a_line_has_its_five_fields_in_this_order() -> None:
    assert list(entry().items()) == [
        ("timestamp", "2023-11-14T22:13:20.250+00:00"),
        ("level", "info"),
        ("component", "rpc"),
        ("event", "it_happened"),
        ("worker_pid", os.getpid()),
    ]


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("codex_api.http", "http"),
        ("codex_api.codex", "codex"),
        ("gunicorn.error", "gunicorn"),
        ("gunicorn.access", "gunicorn"),
        ("asyncio", "asyncio"),
    ],
)
def test_the_component_is_the_part_of_us_that_speaks(name: str, component: str) -> None:
    assert entry(name)["component"] == component


@pytest.mark.parametrize(
    ("levelname", "level"),
    [
        ("DEBUG", "debug"),
        ("INFO", "info"),
        ("WARNING", "warn"),
        ("ERROR", "error"),
        ("CRITICAL", "critical"),
    ],
)
def test_the_level_is_a_lower_case_word(levelname: str, level: str) -> None:
    assert entry(levelname=levelname)["level"] == level


def test_the_fields_of_the_record_follow() -> None:
    told = entry(request_id="req_1", size=0, ok=False, none=None, nested={"a": [1]})
    assert list(told)[5:] == ["request_id", "size", "ok", "none", "nested"]
    assert (told["request_id"], told["size"], told["ok"]) == ("req_1", 0, False)
    assert (told["none"], told["nested"]) == (None, {"a": [1]})


def test_arguments_are_put_into_the_sentences_of_others() -> None:
    assert entry("gunicorn.error", msg="Booting %s: %d", args=("worker", 7))["event"] == (
        "Booting worker: 7"
    )


@pytest.mark.parametrize(
    "text", ["a\nb", "\r\n", "\0", "\u2028", "\ud800", 'say "hi"', "naïve 👩‍👩‍👧"]
)
def test_a_record_is_one_line_whatever_is_in_it(text: str) -> None:
    written = line(note=text)
    assert "\n" not in written
    assert "\r" not in written
    assert written.encode()
    assert json.loads(written)["note"] == text


def test_what_is_not_json_is_shown_by_its_repr() -> None:
    assert entry(some={1})["some"] == "{1}"
    assert entry(some=b"x")["some"] == "b'x'"


# Exceptions


def fail(depth: int) -> NoReturn:
    if depth:
        fail(depth - 1)
    raise RuntimeError("canary: /home/secret http://secret.example/x")


def failed(depth: int = 0) -> dict[str, Any]:
    try:
        fail(depth)
    except RuntimeError:
        return entry(exc_info=sys.exc_info())


def test_an_exception_is_its_type_and_its_frames() -> None:
    described = failed()["exception"]
    assert described["type"] == "RuntimeError"
    assert [re.sub(r":\d+ ", ":0 ", frame) for frame in described["frames"]] == [
        "test_logs.py:0 failed",
        "test_logs.py:0 fail",
    ]


def test_the_text_of_an_exception_is_nowhere() -> None:
    try:
        try:
            fail(0)
        except RuntimeError as error:
            raise ValueError("canary") from error
    except ValueError:
        written = line(exc_info=sys.exc_info())
    assert "canary" not in written
    assert "secret" not in written


def test_of_a_deep_exception_the_last_frames_are_kept() -> None:
    frames = failed(depth=30)["exception"]["frames"]
    assert len(frames) == 8
    assert all(frame.endswith(" fail") for frame in frames)


@pytest.mark.parametrize("exc_info", [None, (None, None, None)])
def test_without_an_exception_there_is_no_such_field(exc_info: Any) -> None:
    assert "exception" not in entry(exc_info=exc_info)


# Configuration


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_everybody_writes_json_to_stdout_and_nobody_twice(level: str) -> None:
    config = log_config(level)
    assert config["disable_existing_loggers"] is False
    assert config["formatters"]["json"] == {"()": JsonFormatter}
    stdout = {"()": StdoutHandler, "formatter": "json", "filters": []}
    assert config["handlers"] == {"stdout": stdout}
    own = {"level": level.upper(), "handlers": ["stdout"], "propagate": False}
    assert config["loggers"]["codex_api"] == own
    assert config["loggers"]["gunicorn.error"] == {**own, "filters": ["gunicorn"]}
    assert config["filters"]["gunicorn"] == {"()": GunicornFilter}


def test_gunicorn_s_own_access_line_is_off() -> None:
    assert log_config("debug")["loggers"]["gunicorn.access"]["level"] == "CRITICAL"


@pytest.mark.parametrize(
    ("msg", "args", "event"),
    [
        ("Invalid request from ip=10.0.0.1: Invalid header: 'canary'", (), "invalid_http_request"),
        ("Invalid request from ip=%s: %s", ("10.0.0.1", "canary"), "invalid_http_request"),
        ("Error handling request %s", ("/v1/?key=canary",), "request_failed"),
        ("Error handling request (no URI read)", (), "request_failed"),
        (
            "Ignored premature client disconnection. %s",
            ("No more data after: b'Authorization: Bearer canary'",),
            "head_cut_off",
        ),
        ("%s %s", ("GET", "/v1/canary"), "request_read"),
        ("Booting worker with pid: %s", (7,), "Booting worker with pid: 7"),
        ("Handling signal: hup", (), "Handling signal: hup"),
    ],
)
def test_a_line_of_gunicorn_s_that_quotes_the_client_is_replaced(
    msg: str, args: tuple[Any, ...], event: str
) -> None:
    record = logging.makeLogRecord({"name": "gunicorn.error", "msg": msg, "args": args})
    assert GunicornFilter().filter(record) is True
    written = JsonFormatter().format(record)
    assert json.loads(written)["event"] == event
    assert "canary" not in written
