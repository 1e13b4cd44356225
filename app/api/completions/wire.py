"""Chunks to `text_completion` objects, which a stream and a whole answer share. Pure.

Shapes: OpenAI API reference, "The completion object".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from app.answers.chunks import Chunk, Content, Finish, Refusal, Role, Tokens
from app.api.usage import render_usage


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every object of one answer repeats. `created` is Unix time in seconds.

    `echoes` has the text that each choice begins with, by index.
    """

    id: str
    created: int
    model: str
    system_fingerprint: str
    include_usage: bool
    echoes: tuple[str, ...]


class CompletionWire:
    """Renders the chunks of one answer."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._head = {
            "id": envelope.id,
            "object": "text_completion",
            "created": envelope.created,
            "model": envelope.model,
            "system_fingerprint": envelope.system_fingerprint,
        }

    def encode(self, chunks: Iterable[Chunk], metadata: dict[str, Any] | None) -> bytes:
        """Return one server-sent event for each chunk; `metadata` goes into the finish frames."""
        return b"".join([self._encode(chunk, metadata) for chunk in chunks])

    def _encode(self, chunk: Chunk, metadata: dict[str, Any] | None) -> bytes:
        match chunk:
            case Role(index=index) if self._envelope.echoes[index]:
                return self._frame([_choice(index, self._envelope.echoes[index], None)])
            case Content(index=index, text=text) | Refusal(index=index, text=text):
                return self._frame([_choice(index, text, None)])
            case Finish(index=index, reason=reason):
                return self._frame([_choice(index, "", reason)], codex_metadata=metadata)
            case Tokens(usage=usage) if self._envelope.include_usage:
                return self._frame([], usage=render_usage(usage))
        return b""

    def _frame(self, choices: list[dict[str, Any]], **members: Any) -> bytes:
        chunk = {**self._head, "choices": choices}
        if self._envelope.include_usage:
            chunk["usage"] = None
        return b"data: " + orjson.dumps(chunk | members) + b"\n\n"

    def fold(self, chunks: Iterable[Chunk], metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the whole answer that the chunks add up to."""
        texts = [[echo] for echo in self._envelope.echoes]
        reasons = ["stop"] * len(texts)
        usage = None
        for chunk in chunks:
            match chunk:
                case Content(index=index, text=text) | Refusal(index=index, text=text):
                    texts[index].append(text)
                case Finish(index=index, reason=reason):
                    reasons[index] = reason
                case Tokens(usage=counted):
                    usage = render_usage(counted)
        ends = enumerate(zip(texts, reasons, strict=True))
        return {
            **self._head,
            "choices": [_choice(index, "".join(said), why) for index, (said, why) in ends],
            "usage": usage,
            "codex_metadata": metadata,
        }


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
