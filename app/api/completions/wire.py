"""Wire of completions: chunks to `text_completion` objects, which a stream and a whole answer share. Pure.

Shapes: OpenAI API reference, "The completion object".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from app.answers.chunks import Began, Cause, Chunk, Cost, Ended, Refusal, Text
from app.answers.summary import Summary
from app.api.usage import FINISH_REASONS, render_usage
from app.errors import GatewayError
from app.http.wire import Payload


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
    """Rendering of one answer: see `app.http.wire.Wire`."""

    end: Payload | None = (None, b"[DONE]")

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._head = {
            "id": envelope.id,
            "object": "text_completion",
            "created": envelope.created,
            "model": envelope.model,
            "system_fingerprint": envelope.system_fingerprint,
        }

    def reason(self, cause: Cause) -> str:
        """Return OpenAI's `finish_reason`."""
        return FINISH_REASONS[cause]

    def payloads(
        self, chunks: Iterable[Chunk], summary: Callable[[], Summary]
    ) -> Iterator[Payload]:
        """Yield an object for each chunk that has one; `codex_metadata` goes into the finish frames."""
        for chunk in chunks:
            if data := self._render(chunk, summary):
                yield None, data

    def _render(self, chunk: Chunk, summary: Callable[[], Summary]) -> bytes:
        match chunk:
            case Began(index=index) if self._envelope.echoes[index]:
                return self._object([_choice(index, self._envelope.echoes[index], None)])
            case Text(index=index, text=text) | Refusal(index=index, text=text):
                return self._object([_choice(index, text, None)])
            case Ended(index=index, cause=cause):
                choice = _choice(index, "", self.reason(cause))
                return self._object([choice], codex_metadata=summary().metadata())
            case Cost(usage=usage) if self._envelope.include_usage:
                return self._object([], usage=render_usage(usage))
        return b""

    def _object(self, choices: list[dict[str, Any]], **members: Any) -> bytes:
        chunk = {**self._head, "choices": choices}
        if self._envelope.include_usage:
            chunk["usage"] = None
        return orjson.dumps(chunk | members)

    def error(self, error: GatewayError) -> Payload:
        """Return the error envelope as a message: OpenAI's SDKs raise on any with a member `error`."""
        return None, orjson.dumps(error.to_envelope())

    def whole(self, chunks: Iterable[Chunk], summary: Summary) -> dict[str, Any]:
        """Return the whole answer that the chunks add up to."""
        texts = [[echo] for echo in self._envelope.echoes]
        reasons = ["stop"] * len(texts)
        usage = None
        for chunk in chunks:
            match chunk:
                case Text(index=index, text=text) | Refusal(index=index, text=text):
                    texts[index].append(text)
                case Ended(index=index, cause=cause):
                    reasons[index] = self.reason(cause)
                case Cost(usage=counted):
                    usage = render_usage(counted)
        ends = enumerate(zip(texts, reasons, strict=True))
        return {
            **self._head,
            "choices": [_choice(index, "".join(said), why) for index, (said, why) in ends],
            "usage": usage,
            "codex_metadata": summary.metadata(),
        }


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
