"""A turn as an HTTP answer: whole, or as server-sent events. Every endpoint that runs turns answers through here.

Before the response is committed a failure is raised and becomes an ordinary HTTP error; after it, one error frame and
`[DONE]`. Whatever happens, the turn is closed and the request's line is written, once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import orjson
from flask import Response

from app.codex.events import Event, Usage
from app.codex.turn import Pace, Turn
from app.edge.context import current_record
from app.edge.error_handlers import unforeseen
from app.errors import GatewayError
from app.observability.requests import RequestRecord

log = logging.getLogger("codex_api.http")

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keepalive\n\n"

C = TypeVar("C")

Describe = Callable[[], dict[str, Any]]
"""Returns `codex_metadata` as of now."""


class Answer(Protocol[C]):
    """What an endpoint brings: how events become its chunks, and chunks its bytes."""

    usage: Usage | None
    finish_reason: str | None

    def open(self) -> list[C]:
        """The chunks that come first."""

    def feed(self, event: Event) -> list[C]:
        """The chunks that an event adds; raises the error that a failed end means."""

    def encode(self, chunks: list[C], describe: Describe) -> bytes:
        """Chunks as frames."""

    def fold(self, chunks: list[C], describe: Describe) -> dict[str, Any]:
        """Chunks as one object."""


def whole(turn: Turn, answer: Answer[C], pace: Pace, describe: Describe) -> Response:
    """Run the turn to its end and answer with one object. Blocks; raises `GatewayError`."""
    record = current_record()
    try:
        chunks = answer.open()
        for batch in turn.follow(pace):
            for event in batch:
                chunks += answer.feed(event)
        body = answer.fold(chunks, describe)
    finally:
        _note(record, turn, answer)
        turn.close()
    return Response(orjson.dumps(body), content_type="application/json")


def stream(turn: Turn, answer: Answer[C], pace: Pace, describe: Describe) -> Response:
    """Wait for the turn's first event (at most `pace.commit_s`), then answer with a stream. Blocks for that long.

    Raises `GatewayError` for a failure within that time.
    """
    frames = Frames(turn, answer, pace, describe, current_record())
    try:
        frames.commit()
    except BaseException:
        frames.close()
        raise
    response = Response(frames, content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class Frames(Iterator[bytes]):
    """The body of a stream. Each item is one write: every frame that is ready, never a part of one.

    An object rather than a generator, because a generator that was never started (HEAD, a client that is already
    gone) does not run its `finally`; `close` always runs.
    """

    def __init__(
        self,
        turn: Turn,
        answer: Answer[C],
        pace: Pace,
        describe: Describe,
        record: RequestRecord,
    ) -> None:
        self._turn = turn
        self._answer: Answer[Any] = answer
        self._describe = describe
        self._record = record
        self._batches = turn.follow(pace)
        self._head = b""
        self._is_over = False

    def commit(self) -> None:
        """Collect the first frames. Raises what the turn fails with before it has said anything."""
        chunks = self._answer.open()
        opening = len(chunks)
        for batch in self._batches:
            for event in batch:
                chunks += self._answer.feed(event)
            if not batch or len(chunks) > opening:
                break
        self._head = self._answer.encode(chunks, self._describe)

    def __next__(self) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        if self._is_over:
            raise StopIteration
        try:
            return self._next_frames()
        except GatewayError as error:
            return self._end_with(error)
        # After the 200 nobody else can tell the client: a defect ends the stream with a frame like any failure.
        except Exception:
            log.exception("unforeseen_error")
            return self._end_with(unforeseen(self._record.request_id))

    def _next_frames(self) -> bytes:
        for batch in self._batches:
            if not batch:
                return KEEP_ALIVE
            chunks = [chunk for event in batch for chunk in self._answer.feed(event)]
            if chunks and (frames := self._answer.encode(chunks, self._describe)):
                return frames
        self._is_over = True
        return DONE

    def _end_with(self, error: GatewayError) -> bytes:
        self._is_over = True
        self._record.outcome, self._record.error_code = "failed", error.code
        return b"data: " + orjson.dumps(error.to_envelope()) + b"\n\n" + DONE

    def close(self) -> None:
        """End the turn if it still runs; called by the server when the response is over, however it ended."""
        if not self._is_over and self._record.outcome == "completed":
            self._record.outcome = "client_left"
        _note(self._record, self._turn, self._answer)
        self._turn.close()


def _note(record: RequestRecord, turn: Turn, answer: Answer[Any]) -> None:
    record.thread_id = turn.thread_id
    record.ttft_ms = ttft_ms(turn)
    record.finish_reason = answer.finish_reason
    if answer.usage is not None:
        record.prompt_tokens = answer.usage.input
        record.completion_tokens = answer.usage.output


def ttft_ms(turn: Turn) -> int | None:
    """Milliseconds from the turn's start to its first event."""
    if turn.first_event_at is None:
        return None
    return round((turn.first_event_at - turn.started) * 1000)


def duration_ms(turn: Turn) -> int:
    """Milliseconds since the turn's start."""
    return round((time.monotonic() - turn.started) * 1000)
