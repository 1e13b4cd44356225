import json
from email.parser import BytesHeaderParser
from typing import Any

import pytest

from app.runtime.worker import Captured, json_answer

OURS = ("server_error", "INTERNAL_ERROR")
THEIRS = ("invalid_request_error", "INVALID_HTTP")

ANSWERS: list[tuple[int, str, tuple[str, str]]] = [
    (400, "The request is not valid HTTP/1.1.", THEIRS),
    (405, "The request is not valid HTTP/1.1.", THEIRS),
    (
        408,
        "The request's head did not arrive in time.",
        ("invalid_request_error", "HEAD_TIMEOUT"),
    ),
    (414, "The request's URL is too long.", THEIRS),
    (431, "The request's headers are too long or too many.", THEIRS),
    (500, "This gateway made a mistake before it could read the request.", OURS),
    (501, "The request uses a transfer coding that this gateway does not know.", THEIRS),
]


def split(answer: bytes) -> tuple[str, Any, bytes]:
    head, body = answer.split(b"\r\n\r\n", 1)
    line, headers = head.split(b"\r\n", 1)
    return line.decode(), BytesHeaderParser().parsebytes(headers), body


@pytest.mark.parametrize(("status", "message", "row"), ANSWERS)
def test_an_answer_before_the_application_has_the_envelope(
    status: int, message: str, row: tuple[str, str]
) -> None:
    line, _, body = split(json_answer(status))
    assert line.startswith(f"HTTP/1.1 {status} ")
    assert json.loads(body) == {
        "error": {
            "message": message,
            "type": row[0],
            "param": None,
            "code": row[1],
            "retryable": False,
        }
    }


def test_who_finds_no_room_may_try_again() -> None:
    line, headers, body = split(json_answer(429))
    assert line == "HTTP/1.1 429 Too Many Requests"
    assert (headers["x-should-retry"], headers["Retry-After"]) == ("true", "1")
    assert json.loads(body)["error"] == {
        "message": "This gateway has as many connections as it may have; try again shortly.",
        "type": "rate_limit_error",
        "param": None,
        "code": "WORKER_BUSY",
        "retryable": True,
    }


@pytest.mark.parametrize("status", [status for status, *_ in ANSWERS])
def test_its_head_is_whole_and_closes_the_connection(status: int) -> None:
    _, headers, body = split(json_answer(status))
    assert headers["Connection"] == "close"
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == str(len(body))
    assert headers["x-should-retry"] == "false"
    assert headers["X-Request-Id"].startswith("req_")
    assert len(headers) == 5


def test_every_answer_has_a_request_id_of_its_own() -> None:
    ids = {split(json_answer(400))[1]["X-Request-Id"] for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ([b"HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n<html>"], 431),
        ([b"HTTP/1.1 4", b"14 Request-URI Too Long\r\n"], 414),
        ([b"HTTP/1.1 500"], 500),
        ([], 400),
        ([b"HTTP/1.1"], 400),
        ([b"garbage here"], 400),
    ],
)
def test_the_status_that_gunicorn_chose_is_found(written: list[bytes], status: int) -> None:
    captured = Captured()
    for data in written:
        captured.sendall(data)
    assert captured.written == b"".join(written)
    assert captured.status() == status


def test_the_stand_in_asks_for_no_change_of_its_mode() -> None:
    assert Captured().gettimeout() == 0.0
