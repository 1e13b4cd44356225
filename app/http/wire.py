"""Wire: how an endpoint renders an answer, whatever carries it. Implemented in each endpoint's folder. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

from app.answers.chunks import Cause, Chunk
from app.answers.summary import Summary
from app.errors import GatewayError

Payload: TypeAlias = tuple[str | None, bytes]
"""One message of a stream: the name of its event, None where the endpoint's have none, and its data, mostly JSON."""


class Wire(Protocol):
    """Rendering of one answer. One object for each request: it may remember what it has rendered."""

    end: Payload | None
    """The message after the last one, if the endpoint has one."""

    def payloads(
        self, chunks: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterable[Payload]:
        """Return the messages that the chunks add to a stream; `summary` says what the answer is so far."""

    def sign_of_life(self) -> Payload:
        """Return a message that adds nothing, for a time of silence. Never before the first chunks were rendered."""

    def error(self, error: GatewayError) -> Iterable[Payload]:
        """Return the messages about a failure after the response was committed."""

    def whole(self, chunks: Iterable[Chunk], summary: Summary) -> dict[str, Any]:
        """Return the one object that the chunks of a complete answer add up to."""

    def reason(self, cause: Cause) -> str:
        """Return the endpoint's word for the end of a choice, for the log."""
