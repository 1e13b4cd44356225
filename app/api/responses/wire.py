"""Wire of the Responses API: chunks to typed events, and to the response that they add up to. Pure.

Every event has its number. A stream ends with the event that has the whole response, without a last word after it, as
OpenAI's own do. Shapes: OpenAI API reference, "Streaming events" and "The response object".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson

from app.answers.chunks import Began, Cause, Chunk, Cost, Ended, ItemEnded, Rerouted
from app.answers.summary import Summary
from app.api.responses.open_items import Event
from app.api.responses.output import Output
from app.api.responses.request import ENCRYPTED_REASONING
from app.api.responses.resource import Heading, status_of
from app.errors import GatewayError
from app.http.wire import Payload


class ResponsesWire:
    """Rendering of one response: see `app.http.wire.Wire`. `ended` has the whole response once it is over."""

    __slots__ = ("_cause", "_heading", "_sequence", "ended", "output")

    end: Payload | None = None

    def __init__(self, heading: Heading) -> None:
        request = heading.request
        tools = {entry.tool.name: entry for entry in request.tools.tools}
        shows = ENCRYPTED_REASONING in request.body.given.get("include", ())
        self._heading = heading
        self._sequence = 0
        self._cause = Cause.FINISHED
        self.output = Output(heading.id, tools, shows_encrypted=shows)
        self.ended: dict[str, Any] | None = None

    def payloads(
        self, chunks: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterator[Payload]:
        """Yield the events of each chunk."""
        for place, chunk in enumerate(chunks):
            for event in self._events(chunk, chunks[place + 1 : place + 2], summary):
                yield self._numbered(event)

    def _events(
        self, chunk: Chunk, following: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterator[Event]:
        match chunk:
            case Began():
                yield self._lifecycle("created", self._heading.begun())
                yield self._lifecycle("in_progress", self._heading.begun())
            case Cost(usage=usage):
                self.ended = self._heading.whole(self._cause, self.output.shown, usage, summary())
                yield self._lifecycle(status_of(self._cause), self.ended)
            case Ended(cause=cause):
                self._cause = cause
                yield from self.output.take(chunk)
            case ItemEnded():
                yield from self.output.take(chunk, is_cut=_is_cut(following))
            case Rerouted():
                pass  # the whole response says who answered
            case _:
                yield from self.output.take(chunk)

    def sign_of_life(self) -> Payload:
        """Return an event that adds nothing."""
        # Every reader knows it, which cannot be said of `keepalive`. Some take the response in it for the one to go on
        # with, so it has what is finished.
        event = self.output.silence()
        if event is None:
            so_far = self._heading.begun() | {"output": self.output.shown}
            event = self._lifecycle("in_progress", so_far)
        return self._numbered(event)

    def error(self, error: GatewayError) -> Payload:
        """Return the event of a response that came to nothing."""
        self.ended = self._heading.failed(error, self.output.shown)
        return self._numbered(self._lifecycle("failed", self.ended))

    def whole(self, chunks: Iterable[Chunk], summary: Summary) -> dict[str, Any]:
        """Return the response that the chunks add up to."""
        together = [*chunks]
        for place, chunk in enumerate(together):
            for _ in self._events(chunk, together[place + 1 : place + 2], lambda: summary):
                pass
        if self.ended is None:  # an answer ends with what it cost
            self.ended = self._heading.whole(self._cause, self.output.shown, None, summary)
        return self.ended

    def reason(self, cause: Cause) -> str:
        """Return OpenAI's `status`."""
        return status_of(cause)

    def _lifecycle(self, name: str, response: dict[str, Any]) -> Event:
        return {"type": f"response.{name}", "response": response}

    def _numbered(self, event: Event) -> Payload:
        kind = event["type"]
        numbered = {"type": kind, "sequence_number": self._sequence, **event}
        self._sequence += 1
        return kind, orjson.dumps(numbered)


def _is_cut(following: Sequence[Chunk]) -> bool:
    """Return True where what follows the end of an item is an end that the model did not choose."""
    return any(
        isinstance(chunk, Ended) and status_of(chunk.cause) == "incomplete" for chunk in following
    )
