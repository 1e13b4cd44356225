"""Turns as an HTTP answer. Every endpoint that runs turns answers through here; `app.http.sse` makes it a stream.

Whatever happens, every turn is closed and the request's line is written, once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import orjson
from flask import Response

from app.answers.choice import Choice, RetryWithInstruction
from app.answers.chunks import VISIBLE, Chunk, Finish, Restarted, Role, Tokens, without_discarded
from app.answers.turn_set import Batch, TurnSet
from app.backend.events import Usage
from app.errors import GatewayError
from app.http.request_context import current_record

log = logging.getLogger("codex_api.http")


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
        turns: TurnSet,
        choices: list[Choice],
        wire: Wire,
        metadata: dict[str, Any],
        prompts: Sequence[int],
        on_complete: Callable[[list[Choice]], None] = lambda _: None,
    ) -> None:
        """Take one turn for each choice; choices with the same number in `prompts` answer the same prompt."""
        self.turns = turns
        self.wire = wire
        self._choices = choices
        self._metadata = metadata
        self._prompts = prompts
        self._on_complete = on_complete
        self._shown: set[int] = set()  # choices of which the client has seen something
        self._tried_again: set[int] = set()
        self.last_words: list[Chunk] = []
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

        Raises `GatewayError`; what was said before the failure is then in `last_words`. Blocks only where another turn
        has to be started: the model is asked again, or a turn failed and nobody has seen anything of it.
        """
        index, news = batch
        choice = self._choices[index]
        if choice.is_complete:
            return []  # what was still on its way when the choice ended
        chunks: list[Chunk] = []
        try:
            if isinstance(news, GatewayError):
                raise news
            for event in news:
                chunks += choice.feed(event)
        except RetryWithInstruction as again:
            self.turns.replace(index, again.instruction)
        except GatewayError as error:
            if not error.is_transient or index in self._shown | self._tried_again:
                self.last_words = chunks
                raise
            self._try_again(index, error)
            return [Restarted(index)]
        return chunks + self._end(index)

    def _try_again(self, index: int, error: GatewayError) -> None:
        """Run a choice's turn once more. Blocks; raises `GatewayError`."""
        self._tried_again.add(index)
        turn = self.turns.turns[index]
        fields = {"error_code": error.code, "reason": error.message, "thread_id": turn.thread_id}
        log.warning("turn_tried_again", extra=fields | {"request_id": self._record.request_id})
        self._choices[index].begin_anew()
        self.turns.replace(index)

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
        """Return what all choices cost together; each prompt counts once, as OpenAI counts it."""
        spent = [choice.usage for choice in self._choices if choice.usage is not None]
        output = sum(usage.output for usage in spent)
        by_prompt: dict[int, Usage] = {}
        for choice, prompt in zip(self._choices, self._prompts, strict=True):
            known, usage = by_prompt.get(prompt), choice.usage
            if usage is not None and (known is None or usage.input > known.input):
                by_prompt[prompt] = usage
        paid = sum(usage.input for usage in by_prompt.values())
        return Usage(
            input=paid,
            cached_input=sum(usage.cached_input for usage in by_prompt.values()),
            output=output,
            reasoning_output=sum(usage.reasoning_output for usage in spent),
            total=paid + output,
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
        if len(self._shown) < len(self._choices):
            for index in {chunk.index for chunk in chunks if isinstance(chunk, VISIBLE)}:
                self._show(index)
        return self.wire.encode(chunks, self.metadata() if ends else None)

    def _show(self, index: int) -> None:
        """Note that the client sees something of a choice: its turn cannot simply be run again."""
        self._shown.add(index)
        if not self._choices[index].holds_text:
            self.turns.turns[index].lease.settle()

    def close(self) -> None:
        """Give every turn back and note what became of the request. Idempotent, does not block."""
        record, first = self._record, self._choices[0]
        record.thread_id = self.turns.turns[0].thread_id
        record.ttft_ms = self.ttft_ms()
        record.finish_reason = first.finish_reason
        if first.usage is not None:
            record.note_usage(self.usage())
        self.turns.close()


def whole(answer: Answer) -> Response:
    """Run the turns to their end and answer with one object. Blocks; raises `GatewayError`."""
    try:
        chunks = answer.open()
        for batch in answer.turns.follow():
            chunks += answer.feed(batch)
        body = answer.wire.fold(without_discarded(chunks), answer.metadata())
    finally:
        answer.close()
    return Response(orjson.dumps(body), content_type="application/json")
