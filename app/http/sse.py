"""An answer as server-sent events.

Before the response is committed a failure is raised and becomes an ordinary HTTP error; after it, one error frame and
`[DONE]`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import orjson
from flask import Response

from app.answers.answer import Answer
from app.answers.chunks import without_discarded
from app.answers.turn_set import Batch
from app.backend.events import RawItem, ReasoningDelta, TextDelta
from app.errors import GatewayError
from app.http.error_handlers import unforeseen
from app.http.request_context import current_record
from app.observability.requests import RequestRecord

log = logging.getLogger("codex_api.http")

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keepalive\n\n"

_SAYS_SOMETHING = (TextDelta, ReasoningDelta, RawItem)


def stream(answer: Answer, tick_s: float) -> Response:
    """Wait for the first event of any turn (for the commit time of their pace), then answer with a stream.

    After `tick_s` without a frame a comment is sent. Blocks; raises `GatewayError` for a failure before the commit.
    """
    frames = SseBody(answer, tick_s, current_record())
    try:
        frames.commit()
    except BaseException:
        frames.close()
        raise
    current_record().begin_stream()
    response = Response(frames, content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class SseBody(Iterator[bytes]):
    """The body of a stream. Each item is one write: every frame that is ready, never a part of one.

    An object rather than a generator, because a generator that was never started (HEAD, a client that is already
    gone) does not run its `finally`; `close` always runs.
    """

    def __init__(self, answer: Answer, tick_s: float, record: RequestRecord) -> None:
        self._answer = answer
        self._tick_s = tick_s
        self._record = record
        self._batches = answer.turns.follow()
        self._head = b""
        self._is_over = False
        self._written_at = time.monotonic()

    def commit(self) -> None:
        """Collect the first frames. Raises what a turn fails with before it has said anything."""
        chunks = self._answer.open()
        for batch in self._batches:
            chunks += self._answer.feed(batch)
            if _ends_the_wait(batch):
                break
        self._head = self._answer.encode(without_discarded(chunks))

    def __next__(self) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            self._record.count_bytes(len(head))
            return head
        if self._is_over:
            raise StopIteration
        try:
            frames = self._next_frames()
        except GatewayError as error:
            frames = self._answer.encode(self._answer.last_words) + self._end_with(error)
        # After the 200 nobody else can tell the client: a defect ends the stream with a frame like any failure.
        except Exception:
            log.exception("unforeseen_error", extra={"request_id": self._record.request_id})
            frames = self._end_with(unforeseen(self._record.request_id))
        self._written_at = time.monotonic()
        self._record.count_bytes(len(frames))
        return frames

    def _next_frames(self) -> bytes:
        for batch in self._batches:
            frames = self._answer.encode(self._answer.feed(batch))
            if frames:
                return frames
            # Events that show nothing (hidden reasoning, held text) are silence to whoever waits for bytes.
            is_quiet = not batch[1]
            if is_quiet or time.monotonic() - self._written_at >= self._tick_s:
                return KEEP_ALIVE
        self._is_over = True
        return DONE

    def _end_with(self, error: GatewayError) -> bytes:
        self._is_over = True
        self._record.outcome, self._record.error_code = "failed", error.code
        return b"data: " + orjson.dumps(error.to_envelope()) + b"\n\n" + DONE

    def close(self) -> None:
        """End what still runs; called by the server when the response is over, however it ended."""
        if not self._is_over and self._record.outcome == "completed":
            self._record.outcome = "client_left"
        self._answer.close()


def _ends_the_wait(batch: Batch) -> bool:
    """True for a first event, and for a quiet time. Bookkeeping (usage) can come before a failure: it is neither."""
    news = batch[1]
    if isinstance(news, GatewayError):
        return False
    return not news or any(isinstance(event, _SAYS_SOMETHING) for event in news)
