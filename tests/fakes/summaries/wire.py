"""Rendering of a summary: pieces, an end, and one object. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson

from app.answers.chunks import Cause, Chunk, Ended, Text, singly
from app.answers.summary import Summary
from app.errors import GatewayError
from app.http.wire import Payload

REASONS = {Cause.FINISHED: "done", Cause.TOKEN_LIMIT: "cut"}


class SummaryWire:
    """Rendering of one summary."""

    end: Payload | None = None

    def __init__(self, id_: str) -> None:
        self._id = id_

    def reason(self, cause: Cause) -> str:
        """Return the endpoint's word for the end of a choice."""
        return REASONS.get(cause, "other")

    def payloads(
        self, chunks: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterator[Payload]:
        """Yield a message for each piece, and one for the end."""
        for chunk in singly(chunks):
            match chunk:
                case Text(text=text):
                    yield "summary.piece", orjson.dumps({"piece": text})
                case Ended(cause=cause):
                    yield "summary.over", orjson.dumps({"end": self.reason(cause)})

    def sign_of_life(self) -> Payload:
        """Return an empty piece."""
        return "summary.piece", orjson.dumps({"piece": ""})

    def error(self, error: GatewayError) -> Iterator[Payload]:
        """Yield the envelope as an event."""
        yield "summary.failed", orjson.dumps(error.to_envelope())

    def whole(self, chunks: Iterable[Chunk], summary: Summary) -> dict[str, Any]:
        """Return the one object of an answer that is no stream."""
        chunks = [*chunks]
        text = "".join(chunk.text for chunk in chunks if isinstance(chunk, Text))
        (end,) = [self.reason(chunk.cause) for chunk in chunks if isinstance(chunk, Ended)]
        return {"id": self._id, "summary": text, "end": end, "model": summary.model}
