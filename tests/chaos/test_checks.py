"""The check of a storm: it sees what it should see, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checks import Ending, Fails, Transcript, check, check_due
from tests.chaos.holdings import Holdings, when_warm
from tests.chaos.ledger import Ledger
from tests.chaos.request_kinds import Asked, Expects

DELTAS = ("hel", "lo", "lo", " <7>")
ASKED = Asked(7, "plain", deltas=DELTAS)
STREAMED = Asked(7, "plain", deltas=DELTAS, stream=True)
ERROR = {"message": "m.", "type": "t", "param": None, "code": "WORKER_UNAVAILABLE"}
ENVELOPE = {"error": ERROR | {"retryable": True}}


def head(kind: str, length: int | None = None, status: int = 200) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    fields = f"Content-Type: {kind}\r\nX-Request-Id: {ASKED.id}\r\n{framing}"
    return f"HTTP/1.1 {status} Something\r\n{fields}\r\n\r\n".encode()


def answer(body: Any, status: int = 200, kind: str = "application/json") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(kind, len(data), status) + data


def whole(text: str = "".join(DELTAS), reason: str = "stop", count: int = 1) -> bytes:
    message = {"role": "assistant", "content": text}
    choices = [{"index": i, "message": message, "finish_reason": reason} for i in range(count)]
    return answer({"choices": choices})


def frame(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


def chunk(content: str | None = None, reason: str | None = None) -> bytes:
    delta = {} if content is None else {"content": content}
    return frame({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


DONE = frame(b"[DONE]")
END = b"0\r\n\r\n"


def stream(*frames: bytes, end: bytes = END) -> bytes:
    pieces = b"".join(f"{len(one):x}\r\n".encode() + one + b"\r\n" for one in frames)
    return head("text/event-stream") + pieces + end


SAID = [chunk(text) for text in DELTAS]
FINISH = chunk(reason="stop")
GOOD = stream(*SAID, chunk(), FINISH, DONE)


@pytest.mark.parametrize(
    ("asked", "raw", "ending"),
    [
        (ASKED, whole(), Ending.WHOLE),
        (STREAMED, GOOD, Ending.WHOLE_STREAM),
        (STREAMED, stream(*SAID[:2], frame(ENVELOPE), DONE), Ending.FAILED_STREAM),
        (STREAMED, stream(frame(ENVELOPE), DONE), Ending.FAILED_STREAM),
        (ASKED, answer(ENVELOPE, 503), Ending.REFUSED),
    ],
)
def test_what_is_right(asked: Asked, raw: bytes, ending: Ending) -> None:
    result = check(asked, Transcript(raw, "eof"))
    assert (result.ending, result.problems) == (ending, [])


END_IS_BROKEN = [
    b"",
    b"HTTP/1.1 200",
    b"<html>",
    whole()[:-1],
    GOOD[:-5],
    GOOD + b"x",
    stream(*SAID, FINISH, DONE, end=b""),
    stream(*SAID, FINISH),
    stream(*SAID, FINISH, DONE, DONE),
    stream(*SAID, DONE, FINISH),
    stream(*SAID, DONE),
    stream(*SAID, FINISH, FINISH, DONE),
    stream(frame(ENVELOPE), *SAID, FINISH, DONE),
    stream(frame(ENVELOPE), frame(ENVELOPE), DONE),
    stream(*SAID, b"data: {", FINISH, DONE),
    stream(*SAID, b"event: x\n\n", FINISH, DONE),
    stream(*SAID, b": keepalive\n\n", FINISH, DONE),
    answer(b"<html>", 500, "text/html"),
    answer(b"Bad gateway", 502),
    answer({"error": {"message": "m"}}, 500),
    answer({"detail": "m"}, 500),
    whole(count=2),
]


@pytest.mark.parametrize("raw", END_IS_BROKEN)
def test_an_end_that_no_client_knows(raw: bytes) -> None:
    problems = check(STREAMED, Transcript(raw, "eof")).problems
    assert Fails.END in {promise for promise, _ in problems}


def test_a_connection_that_is_reset_is_no_end_but_after_a_refusal() -> None:
    assert check(STREAMED, Transcript(GOOD, "ConnectionResetError")).problems
    assert not check(ASKED, Transcript(answer(ENVELOPE, 413), "ConnectionResetError")).problems


TEXT_IS_BROKEN = [
    whole("hello"),
    whole("helo <7>"),
    stream(*SAID[:2], *SAID[3:], FINISH, DONE),
    stream(*SAID[:2], *SAID[1:], FINISH, DONE),
    stream(*reversed(SAID), FINISH, DONE),
    stream(chunk("hello"), *SAID[2:], FINISH, DONE),
    stream(*SAID, chunk("someone else's"), FINISH, DONE),
    stream(*SAID[:2], FINISH, DONE),
    stream(*SAID[1:], frame(ENVELOPE), DONE),
    GOOD.replace(ASKED.id.encode(), b"storm-000008"),
]


@pytest.mark.parametrize("raw", TEXT_IS_BROKEN)
def test_a_text_that_is_not_the_one_that_was_sent(raw: bytes) -> None:
    problems = check(STREAMED, Transcript(raw, "eof")).problems
    assert {promise for promise, _ in problems} == {Fails.TEXT}


def test_an_internal_error_is_a_defect() -> None:
    error = ENVELOPE["error"] | {"code": "INTERNAL_ERROR"}
    raw = answer({"error": error}, 500)
    assert [promise for promise, _ in check(ASKED, Transcript(raw, "eof")).problems] == [Fails.CODE]


REFUSED = answer(ENVELOPE, 503)
FAILED = stream(*SAID[:2], frame(ENVELOPE), DONE)


@pytest.mark.parametrize(
    ("asked", "raw", "met_a_fault", "is_due"),
    [
        (ASKED, whole(), False, True),
        (ASKED, REFUSED, True, True),
        (ASKED, REFUSED, False, False),
        (STREAMED, FAILED, True, True),
        (STREAMED, FAILED, False, False),
        (Asked(7, "x", expects=Expects.ERROR, deltas=DELTAS), REFUSED, False, True),
        (Asked(7, "x", expects=Expects.ERROR, deltas=DELTAS), whole(), True, False),
        (Asked(7, "x", expects=Expects.STATUS, status=503), REFUSED, False, True),
        (Asked(7, "x", expects=Expects.STATUS, status=400), REFUSED, True, False),
    ],
)
def test_what_is_due(asked: Asked, raw: bytes, met_a_fault: bool, is_due: bool) -> None:
    result = check(asked, Transcript(raw, "eof"))
    check_due(result, met_a_fault=met_a_fault)
    assert ([promise for promise, _ in result.problems] == []) is is_due


def test_who_leaves_is_owed_nothing() -> None:
    result = check(Asked(7, "leaves", leaves="closes"), Transcript(b"HTTP", "left"))
    check_due(result, met_a_fault=False)
    assert (result.ending, result.problems) == (Ending.LEFT, [])


@pytest.mark.parametrize(
    ("fill", "problems"),
    [
        (lambda ledger: ledger.promise("p", 3), []),
        (lambda ledger: ledger.promise("p", 3, ["it broke"]), ["p: it broke"]),
        (lambda ledger: ledger.within("f", 5, 5), []),
        (lambda ledger: ledger.within("f", 6, 5, "MiB"), ["f: f: 6 of 5 MiB"]),
        (lambda ledger: ledger.figure("f", 6), []),
    ],
)
def test_a_ledger_knows_what_is_broken(fill: Callable[[Ledger], None], problems: list[str]) -> None:
    ledger = Ledger("title")
    fill(ledger)
    assert ledger.problems() == problems
    assert ledger.rendered().startswith("title\n")


def of_size(worker_mib: float) -> Holdings:
    return Holdings(worker_mib, 100, 10, 5, 5, 1)


@pytest.mark.parametrize(
    ("sizes", "warm"),
    [
        ((72, 82, 82, 82, 82, 82), 82),
        ((70, 75, 68, 76, 68, 75), 75),
        ((70, 80, 90, 100, 110, 120), 90),
    ],
)
def test_a_worker_is_warm_when_its_caches_are_full(sizes: tuple[int, ...], warm: int) -> None:
    assert when_warm([of_size(size) for size in sizes]).worker_mib == warm
