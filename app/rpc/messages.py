"""Messages of JSON-RPC, from bytes and back, without the `jsonrpc` member (app-server's dialect).

Pure: no I/O, no clock, no logging. A line that makes no sense becomes `Malformed`, which carries its size and what is
wrong with it but never its text, because the text may hold a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from app.json_cost import MOST_VALUES, ValueCount
from app.json_text import pieces

MessageId: TypeAlias = int | str

METHOD_NOT_FOUND = -32601
"""JSON-RPC 2.0, section 5.1: the method does not exist."""

OVERLOADED = -32001
"""app-server: its ingress queue (128) is full. Part of these answers is never sent, so every call has a deadline."""


_LONG_LINE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request *from* the child ("server request"). It must be answered, or its turn hangs."""

    id: MessageId
    method: str
    params: dict[str, Any]


@dataclass(
    slots=True
)  # not frozen: there is one for each piece of text, and a frozen one takes three times as long
class Notification:
    """Something that happened. No answer is expected. `size` is that of its line, in bytes."""

    method: str
    params: dict[str, Any]
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Response:
    """The child's result for one of our calls."""

    id: MessageId
    result: Any
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """The child's refusal of one of our calls."""

    id: MessageId
    code: int
    message: str
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is no message. `size` is in bytes; `reason` is one of a few fixed words."""

    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Oversized:
    """A line that was too long to be read. `size` is in bytes; `head` is how it began."""

    size: int
    head: bytes = field(default=b"", repr=False)


Message: TypeAlias = Request | Notification | Response | ErrorResponse | Malformed | Oversized

_HEAD_BYTES = 512


def parse_line(line: bytes) -> Message:
    """Classify one line: method and id = request, method = notification, id = response (JSON-RPC 2.0, section 4)."""
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError:
        return Malformed(len(line), "not_json")
    if not isinstance(raw, dict):
        return Malformed(len(line), "not_an_object")
    method = raw.get("method")
    if "id" not in raw and isinstance(method, str):  # as nearly every line
        params = raw.get("params")
        return Notification(method, params if isinstance(params, dict) else {}, len(line))
    message_id = raw.get("id")
    # A boolean is an int in Python: {"id": true} must not resolve call 1.
    if isinstance(message_id, bool) or not isinstance(message_id, int | str | None):
        return Malformed(len(line), "bad_id")
    if isinstance(method, str):
        if message_id is None:
            return Notification(method, _params(raw), len(line))
        return Request(message_id, method, _params(raw))
    return _parse_answer(raw, message_id, len(line))


def _params(raw: dict[str, Any]) -> dict[str, Any]:
    params = raw.get("params")
    return params if isinstance(params, dict) else {}


def _parse_answer(raw: dict[str, Any], message_id: MessageId | None, size: int) -> Message:
    if message_id is None:
        return Malformed(size, "neither_method_nor_id")
    error = raw.get("error")
    if isinstance(error, dict):
        code, text = error.get("code"), error.get("message")
        return ErrorResponse(
            message_id,
            code if isinstance(code, int) else 0,
            text if isinstance(text, str) else "",
            size,
        )
    if "result" in raw:
        return Response(message_id, raw["result"], size)
    return Malformed(size, "neither_result_nor_error")


def encode_request(message_id: MessageId, method: str, params: object) -> Iterator[bytes]:
    """Yield one line, in pieces if it is long. Raises `orjson.JSONEncodeError` for what cannot be JSON.

    That is a lone surrogate, say.
    """
    yield from pieces({"id": message_id, "method": method, "params": params})
    yield b"\n"


def encode_notification(method: str) -> bytes:
    """Return one line for a notification without parameters."""
    return orjson.dumps({"method": method}) + b"\n"


def encode_result(message_id: MessageId, result: object) -> bytes:
    """Return one line that answers a server request."""
    return orjson.dumps({"id": message_id, "result": result}) + b"\n"


def encode_error(message_id: MessageId, code: int, message: str) -> bytes:
    """Return one line that refuses a server request."""
    return orjson.dumps({"id": message_id, "error": {"code": code, "message": message}}) + b"\n"


class LineSplitter:
    """Turn a byte stream, cut anywhere, into whole lines.

    Holds at most `max_line` bytes. A longer line is dropped as it arrives and reported as `Oversized` with its full
    size once its end is seen; what follows is read as usual. So is a long one with more values than can be parsed in a
    moment. Feeding costs time linear in the bytes fed.
    """

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._unlooked = min(max_line, _LONG_LINE)
        self._parts: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._head = b""
        self._count: ValueCount | None = None  # of a line that has become long

    @property
    def is_dropping(self) -> bool:
        """Return whether it is in the middle of a line that is too long."""
        return bool(self._dropped)

    def feed(self, data: bytes) -> list[bytes | Oversized]:
        """Return the lines that `data` completes, in order, without their newline; empty lines are skipped."""
        *complete, tail = data.split(b"\n")
        lines: list[bytes | Oversized] = []
        for piece in complete:
            # Nearly all come in one piece, and are short.
            is_alone = not self._size and not self._dropped
            line = piece if is_alone and len(piece) <= self._unlooked else self._finish(piece)
            if line:
                lines.append(line)
        self._keep(tail)
        return lines

    def _finish(self, piece: bytes) -> bytes | Oversized:
        self._keep(piece)
        parts, dropped, head = self._parts, self._dropped, self._head
        self._parts, self._size, self._dropped, self._head = [], 0, 0, b""
        self._count = None
        if dropped:
            return Oversized(dropped, head)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _keep(self, piece: bytes) -> None:
        size = self._size + len(piece)
        if (
            self._dropped
            or size > self._max_line
            or (size > _LONG_LINE and self._has_too_many_values(piece))
        ):
            # What was kept of it, if this is where it becomes too long.
            self._head = b"".join((self._head, *self._parts, piece[:_HEAD_BYTES]))[:_HEAD_BYTES]
            self._dropped += size
            self._parts, self._size = [], 0
        elif piece:
            self._parts.append(piece)
            self._size = size

    def _has_too_many_values(self, piece: bytes) -> bool:
        """Count on in a line that has become long; a shorter one is parsed in some milliseconds, whatever it holds."""
        if self._count is None:
            self._count = ValueCount()
            for part in self._parts:
                self._count.feed(part)
        return self._count.feed(piece) > MOST_VALUES
