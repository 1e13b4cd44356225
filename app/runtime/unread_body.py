"""Request body that the application did not read to its end, and what becomes of its connection.

A refusal is often ready before its request is whole. What is little and comes at once is read, and the connection goes
on. Of any other body the answer says `Connection: close`, and for a while what still comes is thrown away: if the
connection were closed on it, the client would meet a reset before it had read why.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from socket import SHUT_WR
from typing import Any

import gevent
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import ParseException

_BLOCK_BYTES = 64 * 1024
_LITTLE_BYTES = 64 * 1024
_AT_ONCE_S = 0.05
_LINGER_BYTES = 256 * 1024 * 1024
_LINGER_S = 30.0


class UnreadBody:
    """The body of one request, seen from the end of its answer. `request` is gunicorn's.

    `is_full`: no connection more can be accepted, so that each ends with its answer.
    """

    __slots__ = ("_body", "_client_closes", "_is_full", "_is_left")

    def __init__(self, request: Any, is_full: Callable[[], bool]) -> None:
        self._body = request.body
        self._client_closes = request.should_close
        self._is_full = is_full
        self._is_left: bool | None = None

    def should_close(self) -> bool:
        """Return whether this connection ends with this answer. Blocks, at most for a moment, the first time.

        gunicorn asks when it writes the headers of the answer, so that the client is told, and again after it.
        """
        return bool(self._client_closes()) or self.is_left() or self._is_full()

    def is_left(self) -> bool:
        """Return True if some of the body has not been read, and is more than comes at once. Blocks as above."""
        if self._is_left is None:
            self._is_left = self._look()
        return self._is_left

    def _look(self) -> bool:
        reader, left = self._body.reader, _LITTLE_BYTES
        if isinstance(reader, LengthReader) and (
            not reader.length or reader.length > _LITTLE_BYTES
        ):
            return reader.length > 0
        # Where reading has failed, or is broken off here, it cannot be told any more where the next request begins.
        deadline = gevent.Timeout(_AT_ONCE_S, False)  # type: ignore[arg-type]  # False: it ends the block without an error
        with deadline, suppress(OSError, ParseException):
            while left > 0 and not _has_failed(self._body):
                data = self._body.read(_BLOCK_BYTES)
                if not data:
                    return False
                left -= len(data)
        return True


def _has_failed(body: Any) -> bool:
    """True if reading has raised: the reader of chunks would then look as if it were at the end."""
    reader = body.reader
    parser: Any = reader.parser if isinstance(reader, ChunkedReader) else None
    return bool(body.failed) or (parser is not None and parser.gi_frame is None)


def throw_away(sock: Any) -> None:
    """Take what the client still sends, without looking at it, until it has read its answer and closes. Blocks.

    At most 30 seconds or 256 MiB; a pause may be as long as in any body.
    """
    left = _LINGER_BYTES
    deadline = gevent.Timeout(_LINGER_S, False)  # type: ignore[arg-type]  # as above
    with deadline, suppress(OSError):
        sock.shutdown(SHUT_WR)
        while left > 0 and (data := sock.recv(_BLOCK_BYTES)):
            left -= len(data)
