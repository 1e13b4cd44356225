"""codex events to `chat.completion.chunk` and `chat.completion` objects. Pure.

There is one path: events become chunks, and the whole answer is a fold over the same chunks. A delta's text goes out
exactly as it came: never merged, never split, never compared with another.
Shapes: OpenAI API reference, "The chat completion chunk object" and "The chat completion object".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from app.codex.events import Event, TextDelta, TurnEnded, Usage, UsageUpdated
from app.translation.outcome import finish_reason


@dataclass(frozen=True, slots=True)
class Role:
    """The first chunk of a choice."""


@dataclass(frozen=True, slots=True)
class Content:
    """One delta of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The last chunk of a choice."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """The usage chunk."""

    usage: Usage


Describe: TypeAlias = Callable[[], dict[str, Any]]
Chunk: TypeAlias = Role | Content | Finish | Tokens


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every chunk of one answer repeats. `created` is Unix time in seconds."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    include_usage: bool


class ChatAnswer:
    """One answer in the making: feed it the turn's events, render the chunks that come out.

    `usage` and `finish_reason` are None until codex has said them.
    """

    def __init__(self, envelope: Envelope) -> None:
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self._envelope = envelope
        head = {
            "id": envelope.id,
            "object": "chat.completion.chunk",
            "created": envelope.created,
            "model": envelope.model,
            "system_fingerprint": envelope.system_fingerprint,
        }
        # The bytes around a delta's text never change within an answer, so they are made once.
        opening = orjson.dumps(head)[:-1] + b',"choices":[{"index":0,"delta":{"content":'
        closing = b'},"logprobs":null,"finish_reason":null}]'
        closing += b',"usage":null}' if envelope.include_usage else b"}"
        self._head = head
        self._before_text = b"data: " + opening
        self._after_text = closing + b"\n\n"

    def open(self) -> list[Chunk]:
        """Return the chunk that comes first, always."""
        return [Role()]

    def feed(self, event: Event) -> list[Chunk]:
        """Return what `event` adds. Raises `GatewayError` when the event is a failed end."""
        match event:
            case TextDelta(text=text):
                return [Content(text)]
            case UsageUpdated(usage=usage):
                self.usage = usage
            case TurnEnded():
                return self._end(event)
        return []

    def _end(self, ended: TurnEnded) -> list[Chunk]:
        self.finish_reason = finish_reason(ended)
        chunks: list[Chunk] = [Finish(self.finish_reason)]
        if self.usage is not None:
            chunks.append(Tokens(self.usage))
        return chunks

    # Stream

    def encode(self, chunks: Iterable[Chunk], describe: Describe) -> bytes:
        """Return one server-sent event for each chunk; `describe` is asked for the finish frame's metadata."""
        return b"".join([self._encode(chunk, describe) for chunk in chunks])

    def _encode(self, chunk: Chunk, describe: Describe) -> bytes:
        match chunk:
            case Content(text=text):
                return self._before_text + orjson.dumps(text) + self._after_text
            case Role():
                return self._frame([_choice({"role": "assistant", "content": ""}, None)])
            case Finish(reason=reason):
                return self._frame([_choice({}, reason)], codex_metadata=describe())
            case Tokens(usage=usage) if self._envelope.include_usage:
                return self._frame([], usage=render_usage(usage))
        return b""

    def _frame(self, choices: list[dict[str, Any]], **members: Any) -> bytes:
        chunk = {**self._head, "choices": choices}
        if self._envelope.include_usage:
            chunk["usage"] = None
        return b"data: " + orjson.dumps(chunk | members) + b"\n\n"

    # Whole

    def fold(self, chunks: Iterable[Chunk], describe: Describe) -> dict[str, Any]:
        """Return the whole answer that the chunks add up to."""
        texts: list[str] = []
        reason, usage = "stop", None
        for chunk in chunks:
            match chunk:
                case Content(text=text):
                    texts.append(text)
                case Finish(reason=named):
                    reason = named
                case Tokens(usage=counted):
                    usage = counted
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(texts),
            "refusal": None,
            "annotations": [],
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
            ],
            "usage": None if usage is None else render_usage(usage),
            "codex_metadata": describe(),
        }


def _choice(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def render_usage(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's usage object. What codex does not count (audio, predictions) is zero."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_output,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
