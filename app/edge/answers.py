"""Turns as an HTTP answer: whole, or as server-sent events. Every endpoint that runs turns answers through here.

Before the response is committed a failure is raised and becomes an ordinary HTTP error; after it, one error frame and
`[DONE]`. Whatever happens, every turn is closed and the request's line is written, once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import orjson
from flask import Response

from app.codex.choices import Batch, Choices
from app.codex.events import RawItem, ReasoningDelta, TextDelta, Usage
from app.edge.context import current_record
from app.edge.error_handlers import unforeseen
from app.errors import GatewayError
from app.observability.requests import RequestRecord
from app.translation.choice import AskAgain, Choice
from app.translation.chunks import Chunk, Finish, Role, Tokens

log = logging.getLogger("codex_api.http")

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keepalive\n\n"

_SAYS_SOMETHING = (TextDelta, ReasoningDelta, RawItem)


class Wire(Protocol):
    """How an endpoint renders chunks."""

    def encode(self, chunks: Iterable[Chunk], metadata: dict[str, Any] | None) -> bytes:
        """Chunks as frames; `metadata` is given with the chunks that end a choice."""

    def fold(self, chunks: Iterable[Chunk], metadata: dict[str, Any]) -> dict[str, Any]:
        """Chunks as one object."""


class Answer:
    """One request being answered: its turns, the choices they become, and the wire they go out by."""

    def __init__(
        self,
        turns: Choices,
        choices: list[Choice],
        wire: Wire,
        metadata: dict[str, Any],
        on_complete: Callable[[list[Choice]], None] = lambda _: None,
    ) -> None:
        self.turns = turns
        self.wire = wire
        self._choices = choices
        self._metadata = metadata
        self._on_complete = on_complete
        self._record = current_record()
        self._record.generation = turns.generation

    @property
    def is_complete(self) -> bool:
        """True once every choice has ended."""
        return all(choice.is_complete for choice in self._choices)

    def open(self) -> list[Chunk]:
        """Return the chunks that come first, always."""
        return [Role(choice.index) for choice in self._choices]

    def feed(self, batch: Batch) -> list[Chunk]:
        """Return what a batch of events adds; close the turns that have done their part.

        Raises `GatewayError`. Blocks only where the model has to be asked again.
        """
        index, events = batch
        choice = self._choices[index]
        if choice.is_complete:
            return []  # what was still on its way when the choice ended
        chunks: list[Chunk] = []
        for event in events:
            try:
                chunks += choice.feed(event)
            except AskAgain as again:
                self.turns.ask_again(index, again.instruction)
                break
        return chunks + self._end(index)

    def _end(self, index: int) -> list[Chunk]:
        """Close the turn of a choice that is complete; after the last one, return what all of them cost."""
        if not self._choices[index].is_complete:
            return []
        self.turns.close_one(index)
        if not self.is_complete:
            return []
        self._on_complete(self._choices)
        return [Tokens(self.usage())]

    def usage(self) -> Usage:
        """Return what all choices cost together; the prompt counts once, as OpenAI counts it."""
        spent = [choice.usage for choice in self._choices if choice.usage is not None]
        output = sum(usage.output for usage in spent)
        prompt = max((usage.input for usage in spent), default=0)
        return Usage(
            input=prompt,
            cached_input=max((usage.cached_input for usage in spent), default=0),
            output=output,
            reasoning_output=sum(usage.reasoning_output for usage in spent),
            total=prompt + output,
        )

    def metadata(self) -> dict[str, Any]:
        """Return `codex_metadata` as of now."""
        first = self.turns.turns[0]
        return {
            "thread_id": first.thread_id,
            "turn_id": first.turn_id,
            **self._metadata,
            "ttft_ms": self.ttft_ms(),
            "duration_ms": round((time.monotonic() - self.turns.started) * 1000),
            "usage_estimated": any(choice.is_usage_estimated for choice in self._choices),
        }

    def ttft_ms(self) -> int | None:
        """Milliseconds from the start to the first event of any choice."""
        first = self.turns.first_event_at
        return None if first is None else round((first - self.turns.started) * 1000)

    def encode(self, chunks: list[Chunk]) -> bytes:
        """Return the chunks as frames."""
        ends = any(isinstance(chunk, Finish) for chunk in chunks)
        return self.wire.encode(chunks, self.metadata() if ends else None)

    def close(self) -> None:
        """Give every turn back and note what became of the request. Idempotent, does not block."""
        record, first = self._record, self._choices[0]
        record.thread_id = self.turns.turns[0].thread_id
        record.ttft_ms = self.ttft_ms()
        record.finish_reason = first.finish_reason
        if first.usage is not None:
            usage = self.usage()
            record.prompt_tokens, record.completion_tokens = usage.input, usage.output
        self.turns.close()


def whole(answer: Answer) -> Response:
    """Run the turns to their end and answer with one object. Blocks; raises `GatewayError`."""
    try:
        chunks = answer.open()
        for batch in answer.turns.follow():
            chunks += answer.feed(batch)
        body = answer.wire.fold(chunks, answer.metadata())
    finally:
        answer.close()
    return Response(orjson.dumps(body), content_type="application/json")


def stream(answer: Answer, tick_s: float) -> Response:
    """Wait for the first event of any turn (for the commit time of their pace), then answer with a stream.

    After `tick_s` without a frame a comment is sent. Blocks; raises `GatewayError` for a failure before the commit.
    """
    frames = Frames(answer, tick_s, current_record())
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
            # Bookkeeping (usage) can come before a failure, so it does not count as a first event.
            if not batch[1] or any(isinstance(event, _SAYS_SOMETHING) for event in batch[1]):
                break
        self._head = self._answer.encode(chunks)

    def __next__(self) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        if self._is_over:
            raise StopIteration
        try:
            frames = self._next_frames()
        except GatewayError as error:
            frames = self._end_with(error)
        # After the 200 nobody else can tell the client: a defect ends the stream with a frame like any failure.
        except Exception:
            log.exception("unforeseen_error")
            frames = self._end_with(unforeseen(self._record.request_id))
        self._written_at = time.monotonic()
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
