"""What a client of a storm got, checked. Pure: bytes in, the way it ended and what is wrong with it out.

Strict where a client library is lenient: a body must be as long as declared or end in its last chunk, a stream in
exactly one `[DONE]`, and every delta is the one that the upstream sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from itertools import zip_longest
from typing import Any

from tests.chaos.request_kinds import BELOW_THE_APPLICATION, Asked, Expects

ENVELOPE = {"message", "type", "param", "code", "retryable"}
DONE = "[DONE]"


class Ending(Enum):
    """How a request ended for its client."""

    WHOLE_STREAM = "whole stream"
    FAILED_STREAM = "stream with an error"
    WHOLE = "whole answer"
    REFUSED = "refused"
    LEFT = "client left"
    LOST = "lost with its worker"
    BROKEN = "broken"


class Fails(Enum):
    """Which promise was broken, in the words of the table."""

    END = "every request ends once, in a form that clients know"
    TEXT = "no text is lost, doubled, reordered or mixed"
    DUE = "who meets no fault is served"
    CODE = "errors are those of the service, never a defect"


@dataclass(frozen=True, slots=True)
class Transcript:
    """The bytes that a client read, and why it read no more. Times are of the monotonic clock."""

    raw: bytes
    end: str
    """`eof`, `left`, or the system's word for what went wrong."""
    began: float = 0.0
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool


@dataclass(slots=True)
class Result:
    """What became of one request, when (monotonic clock). `code` is that of the error, if it ended in one."""

    asked: Asked
    began: float = 0.0
    ended: float = 0.0
    ending: Ending = Ending.BROKEN
    status: int = 0
    code: str | None = None
    problems: list[tuple[Fails, str]] = field(default_factory=list)

    def complain(self, promise: Fails, what: str) -> None:
        self.problems.append((promise, f"{self.asked.id} ({self.asked.kind}): {what}"))


class Malformed(Exception):
    """What arrived is not what a client can read."""


def parse_answer(raw: bytes) -> Answer:
    """Take one response apart; a body that is cut off is not whole. Raises `Malformed`."""
    head, separator, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if not separator or words[0] != "HTTP/1.1" or not words[1].isdigit():
        raise Malformed(f"no head of a response: {raw[:60]!r}")
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
    }
    if headers.get("transfer-encoding") == "chunked":
        joined, is_whole = _unchunk(body)
        return Answer(int(words[1]), headers, joined, is_whole)
    length = headers.get("content-length")
    return Answer(int(words[1]), headers, body, length is not None and len(body) == int(length))


def _unchunk(data: bytes) -> tuple[bytes, bool]:
    """Join chunks; whole if the last one is there and nothing follows it."""
    pieces: list[bytes] = []
    at = 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end], 16)
        piece = data[line_end + 2 : line_end + 2 + size]
        at = line_end + 2 + size + 2
        pieces.append(piece)
        if len(piece) < size or data[at - 2 : at] != b"\r\n":
            return b"".join(pieces), False
        if size == 0:
            return b"".join(pieces), at == len(data)
    return b"".join(pieces), False


def parse_frames(body: bytes) -> list[Any]:
    """Split server-sent events: one `data` line each, no comments. Raises `Malformed`."""
    if not body.endswith(b"\n\n"):
        raise Malformed(f"a stream that ends in the middle of a frame: {body[-60:]!r}")
    frames: list[Any] = []
    for block in body[:-2].split(b"\n\n"):
        if not block.startswith(b"data: ") or b"\n" in block:
            raise Malformed(f"no frame: {block[:60]!r}")
        data = block.removeprefix(b"data: ")
        frames.append(DONE if data == DONE.encode() else json.loads(data))
    return frames


def check(asked: Asked, transcript: Transcript) -> Result:
    """Say how a request ended and what is wrong with that, as far as its own client can tell."""
    result = Result(asked, transcript.began, transcript.ended)
    if asked.leaves:
        result.ending = Ending.LEFT
        return result
    try:
        _check_answer(result, parse_answer(transcript.raw), transcript.end)
    except (Malformed, ValueError, KeyError, IndexError, TypeError) as error:
        result.complain(Fails.END, f"{transcript.end}, {type(error).__name__}: {error}")
    return result


def _check_answer(result: Result, answer: Answer, end: str) -> None:
    asked = result.asked
    result.status = answer.status
    # Who is refused while still sending may find the connection reset, after the whole answer.
    ends = {"eof", "ConnectionResetError"} if answer.status == 413 else {"eof"}
    if not answer.is_whole or end not in ends:
        raise Malformed(f"the connection ended before the answer did: {answer.body[-80:]!r}")
    if asked.kind not in BELOW_THE_APPLICATION and answer.headers["x-request-id"] != asked.id:
        result.complain(Fails.TEXT, f"the answer to {answer.headers['x-request-id']}")
    if answer.headers["content-type"].startswith("text/event-stream"):
        _check_stream(result, parse_frames(answer.body))
    elif answer.headers["content-type"].startswith("application/json"):
        _check_object(result, json.loads(answer.body))
    else:
        raise Malformed(f"an answer of type {answer.headers['content-type']}")


def _check_object(result: Result, body: dict[str, Any]) -> None:
    if result.status == 200:
        result.ending = Ending.WHOLE
        for choice in body["choices"]:
            _compare(
                result, _pieces(choice, choice.get("message", choice)), is_whole=True, joined=True
            )
        _count_choices(result, body["choices"])
        return
    result.ending = Ending.REFUSED
    _take_error(result, body)


def _check_stream(result: Result, frames: list[Any]) -> None:
    if frames.count(DONE) != 1 or frames[-1] != DONE:
        raise Malformed(f"{frames.count(DONE)} times [DONE], the last frame is {frames[-1]!r:.80}")
    errors = [frame for frame in frames[:-1] if "error" in frame]
    choices = [choice for frame in frames[:-1] for choice in frame.get("choices", [])]
    finished = [choice for choice in choices if choice["finish_reason"] is not None]
    result.ending = Ending.FAILED_STREAM if errors else Ending.WHOLE_STREAM
    if errors:
        if errors != [frames[-2]]:
            raise Malformed("an error frame that is not the last one")
        _take_error(result, errors[0])
    else:
        _count_choices(result, finished)
    for index in range(result.asked.choices):
        own = [choice for choice in choices if choice["index"] == index]
        pieces = [piece for choice in own for piece in _pieces(choice, choice.get("delta", choice))]
        is_whole = any(choice["index"] == index for choice in finished)
        _compare(result, pieces, is_whole=is_whole, joined=False)


def _pieces(choice: dict[str, Any], message: dict[str, Any]) -> list[str]:
    """Return what a choice of any endpoint says: text, or the arguments of calls."""
    calls = message.get("tool_calls") or []
    said = [message.get("content"), choice.get("text")]
    said += [call["function"]["arguments"] for call in calls]  # the first of a stream are empty
    return [text for text in said if text]


def _compare(result: Result, pieces: list[str], *, is_whole: bool, joined: bool) -> None:
    expected = [result.asked.text] if joined else [*result.asked.deltas]
    expected = [text for text in expected if text]
    if pieces == expected or (not is_whole and pieces == expected[: len(pieces)]):
        return
    pairs = zip_longest(pieces, expected)
    at = next(at for at, (got, due) in enumerate(pairs) if got != due)
    got, due = pieces[at : at + 3], expected[at : at + 3]
    result.complain(
        Fails.TEXT, f"piece {at} of {len(pieces)}/{len(expected)}: {got!r:.80}, not {due!r:.80}"
    )


def _count_choices(result: Result, ended: list[dict[str, Any]]) -> None:
    if sorted(choice["index"] for choice in ended) != [*range(result.asked.choices)]:
        raise Malformed(f"{len(ended)} ends of {result.asked.choices} choices")
    reason = "tool_calls" if result.asked.tool else "stop"
    wrong = {choice["finish_reason"] for choice in ended} - {reason}
    if wrong:
        result.complain(Fails.END, f"finish_reason {wrong}, not {reason}")


def _take_error(result: Result, body: dict[str, Any]) -> None:
    if {*body} != {"error"} or {*body["error"]} != ENVELOPE:
        raise Malformed(f"no error envelope: {body!r:.80}")
    result.code = body["error"]["code"]
    if result.code == "INTERNAL_ERROR":
        result.complain(Fails.CODE, "INTERNAL_ERROR")


FAULT_CODES = frozenset({"WORKER_UNAVAILABLE", "WORKER_BUSY", "WORKER_TIMEOUT", "SLOW_READER"})
"""What a request may get that deserves its text, while a fault is about."""

LOAD_CODES = frozenset({"WORKER_BUSY", "SLOW_READER"})
"""What it may get at any time, for the storm is larger than the service."""


def check_due(result: Result, *, met_a_fault: bool) -> None:
    """Say whether a request got what it deserves. One that met a fault may also get an error, of a few kinds."""
    asked, served = result.asked, {Ending.WHOLE, Ending.WHOLE_STREAM}
    allowed = FAULT_CODES if met_a_fault else LOAD_CODES
    if result.ending in {Ending.BROKEN, Ending.LOST, Ending.LEFT}:
        return
    got = f"{result.ending.value}, {result.status} {result.code}"
    if asked.expects is Expects.STATUS and result.status != asked.status:
        result.complain(Fails.DUE, f"{got}, not {asked.status}")
    elif asked.expects is Expects.ERROR and result.ending in served:
        result.complain(Fails.DUE, f"{got}, though the upstream failed")
    elif (
        asked.expects is Expects.TEXT and result.ending not in served and result.code not in allowed
    ):
        result.complain(Fails.DUE, got)
