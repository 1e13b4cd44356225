"""Wire of answers with choices: what chat completions and completions share of OpenAI's objects. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from app.answers.chunks import Cause, Chunk, Rerouted, Restarted
from app.answers.summary import Summary
from app.backend.events import Usage
from app.errors import GatewayError
from app.http.wire import Payload

FINISH_REASONS: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.FINISHED: "stop",
        Cause.CALLS: "tool_calls",
        Cause.STOP_SEQUENCE: "stop",
        Cause.TOKEN_LIMIT: "length",
        Cause.CONTENT_FILTER: "content_filter",
    }
)
"""OpenAI's `finish_reason` for every end of a choice."""


_RENAMING = (Rerouted, Restarted)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Members that every object of one answer repeats. `created` is Unix time in seconds."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    include_usage: bool


class ChoicesWire(ABC):
    """Rendering of one answer: see `app.http.wire.Wire`. `kind` is the `object` of a stream's objects."""

    __slots__ = ("_asked", "_head", "_include_usage", "_open")  # there is one for every open stream

    end: Payload | None = (None, b"[DONE]")

    def __init__(self, envelope: Envelope, kind: str) -> None:
        self._include_usage = envelope.include_usage
        self._asked = envelope.model
        self._open: list[int] = []  # choices that have begun and not ended
        self._head = {
            "id": envelope.id,
            "object": kind,
            "created": envelope.created,
            "model": envelope.model,
            "system_fingerprint": envelope.system_fingerprint,
        }

    def payloads(
        self, chunks: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterator[Payload]:
        """Yield the objects of each chunk, mostly one; `codex_metadata` goes into the finish frames."""
        for chunk in chunks:
            if isinstance(chunk, _RENAMING):
                self.name_model(chunk.model if isinstance(chunk, Rerouted) else self._asked)
            for data in self._render(chunk, chunks, summary):
                yield None, data

    def _end(self, index: int) -> None:
        self._open = [one for one in self._open if one != index]

    def name_model(self, model: str) -> None:
        """Let the objects from here on name this model."""
        self._head["model"] = model

    def _whole_head(self, summary: Summary) -> dict[str, Any]:
        """Return the members that a whole answer begins with."""
        return self._head | {"model": summary.rerouted_to or self._asked}

    @abstractmethod
    def _render(
        self, chunk: Chunk, batch: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterable[bytes]:
        """Return the objects of one chunk, if it has any; `batch` is what goes out together with it."""

    def sign_of_life(self) -> Payload:
        """Return an object in which a choice that is still open says nothing."""
        # Not any choice: many clients take the last `finish_reason` that they read, here null, for the choice's.
        return None, self._object([self._silence(min(self._open, default=0))])

    @abstractmethod
    def _silence(self, index: int) -> dict[str, Any]:
        """Return a choice of a stream's object that adds nothing."""

    def _object(self, choices: list[dict[str, Any]], **members: Any) -> bytes:
        chunk: dict[str, Any] = {**self._head, "choices": choices}
        if self._include_usage:
            chunk["usage"] = None
        return orjson.dumps(chunk | members)

    def error(self, error: GatewayError) -> tuple[Payload, ...]:
        """Return the error envelope as a message: OpenAI's SDKs raise on any with a member `error`."""
        return ((None, orjson.dumps(error.to_envelope())),)

    def reason(self, cause: Cause) -> str:
        """Return OpenAI's `finish_reason`."""
        return FINISH_REASONS[cause]


def render_usage(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's usage object. What codex does not count (audio, predictions) is zero."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input,
            "cache_write_tokens": usage.cache_write_input,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_output,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
