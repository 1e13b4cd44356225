"""Server-sent events: an answer as a stream, whose messages go over a WebSocket in other frames.

Before the response is committed a failure is raised and becomes an ordinary HTTP error; after it, one message with the
error and the endpoint's last one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from flask import Response

from app.answers.answer import Answer
from app.answers.chunks import Chunk, Cost, is_from_model, without_discarded
from app.errors import GatewayError
from app.http.defects import unforeseen
from app.http.frames import frame as event_frame
from app.http.own_response import OwnResponse
from app.http.request_context import current_record
from app.http.services import services
from app.http.wire import Payload, Wire
from app.observability.requests import RequestRecord
from app.pause import pause
from app.step_log import step

_MANY_BYTES = 256 * 1024
"""In one write. An endpoint that repeats a whole text at its end does so several times, in milliseconds each."""


Framing: TypeAlias = Callable[[Payload], bytes]
"""What makes the bytes that go out of a message."""


def respond(answer: Answer, wire: Wire, tick_s: float, frame: Framing = event_frame) -> Response:
    """Wait until the model answers (for the commit time of the answer's pace), then answer with a stream.

    After `tick_s` without a message the wire's sign of life is sent. Blocks; raises `GatewayError` for a failure before
    the commit.
    """
    record = current_record()
    body = SseBody(answer, wire, tick_s, record, frame)
    try:
        with step("http.commit"):
            body.commit()
    except BaseException:
        body.close()
        raise
    record.begin_stream()
    return _stream(body)


def followed(body: Iterator[bytes], record: RequestRecord) -> Response:
    """Answer with a stream of an answer that somebody else drives."""
    record.stream = True
    record.begin_stream()
    return _stream(body)


def finished(frames: bytes) -> Response:
    """Answer with a stream whose frames are all there."""
    return _stream(frames)


def _stream(body: Iterator[bytes] | bytes) -> Response:
    response = OwnResponse(
        body,
        content_type="text/event-stream; charset=utf-8",
        direct_passthrough=not isinstance(body, bytes),  # as it is: nothing has to be encoded
    )
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class SseBody(Iterator[bytes]):
    """The body of a stream. Each item is one write: frames that are ready, never a part of one.

    An object rather than a generator, because a generator that was never started (HEAD, a client that is already
    gone) does not run its `finally`; `close` always runs.
    """

    __slots__ = (
        "_answer",
        "_bytes",
        "_chunks",
        "_frame",
        "_head",
        "_is_last",
        "_is_over",
        "_payloads",
        "_record",
        "_tells_defects",
        "_tick_s",
        "_wire",
        "_written_at",
    )

    def __init__(
        self,
        answer: Answer,
        wire: Wire,
        tick_s: float,
        record: RequestRecord,
        frame: Framing = event_frame,
    ) -> None:
        self._frame = frame
        self._answer = answer
        self._wire = wire
        self._tick_s = tick_s
        self._record = record
        self._tells_defects = services().options.tells_defects
        self._chunks = iter(answer)
        self._payloads: Iterator[Payload] = iter(())  # of the chunks at hand
        self._head = b""
        self._bytes = 0
        self._is_last = self._is_over = False
        self._written_at = time.monotonic()

    def commit(self) -> None:
        """Collect the first frames. Raises what a turn fails with before it has said anything."""
        chunks: list[Chunk] = []
        for more in self._chunks:
            if more is None:
                break
            chunks += more
            if is_from_model(more):
                break
        # Whoever carries the stream is to see bytes now, also where no chunk has a message of its own yet.
        self._head = self._frames(without_discarded(chunks)) or self._sign_of_life()

    def __next__(self) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            self._bytes += len(head)
            return head
        if self._is_over:
            raise StopIteration
        try:
            frames = self._next_frames()
        except GatewayError as error:
            frames = self._end_with(error)
        # After the 200 only a frame can tell the client: a defect ends the stream like any failure.
        except Exception as error:  # noqa: BLE001
            defect = unforeseen(error, self._record.request_id, is_told=self._tells_defects)
            frames = self._end_with(defect)
        self._written_at = time.monotonic()
        self._bytes += len(frames)
        return frames

    def _next_frames(self) -> bytes:
        if frames := self._ready():
            return frames
        for chunks in self._chunks:
            if chunks is None:
                return self._sign_of_life()
            if frames := self._frames(chunks):
                return frames
            # Chunks that show nothing (hidden reasoning, held text) are silence to a client that waits for bytes.
            if time.monotonic() - self._written_at >= self._tick_s:
                return self._sign_of_life()
        return self._end()

    def _frames(self, chunks: Sequence[Chunk]) -> bytes:
        self._answer.commit(chunks)
        self._is_last = len(chunks) > 0 and isinstance(chunks[-1], Cost)
        self._payloads = iter(self._wire.payloads(chunks, self._answer.summary))
        return self._ready()

    def _ready(self) -> bytes:
        """Return the frames of the chunks at hand, up to where they are many bytes: others may run after those.

        The end goes out together with the last of them.
        """
        frames, size = [], 0
        for payload in self._payloads:
            frames.append(self._frame(payload))
            size += len(frames[-1])
            if size > _MANY_BYTES:
                pause()
                break
        else:
            if self._is_last:
                frames.append(self._end())
        return b"".join(frames)

    def _sign_of_life(self) -> bytes:
        return self._frame(self._wire.sign_of_life())

    def _end(self) -> bytes:
        self._is_over = True
        return self._frame(self._wire.end) if self._wire.end is not None else b""

    def _end_with(self, error: GatewayError) -> bytes:
        self._record.outcome, self._record.error_code = "failed", error.code
        return b"".join(map(self._frame, self._wire.error(error))) + self._end()

    def close(self) -> None:
        """End what still runs; called by the server when the response is over, however it ended."""
        if not self._is_over and self._record.outcome == "completed":
            self._record.outcome = "client_left"
        if self._bytes:
            self._record.count_bytes(self._bytes)
            self._bytes = 0
        self._record.note_answer(self._answer.summary(), self._wire.reason)
        self._answer.close()
