"""Wire of the Responses API: chunks to typed events, and to the response that they add up to. Pure.

Every event has its number. A stream ends with the event that has the whole response, without a last word after it, as
OpenAI's own do. Shapes: OpenAI API reference, "Streaming events" and "The response object".

One that goes on without its client is queued first and may be cancelled, and remembers how its texts came in pieces: so
that its stream can be told again when it is over, each event under its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson

from app.answers.chunks import Began, Cause, Chunk, Cost, Ended, Text, singly
from app.answers.summary import Summary
from app.api.responses.open_items import TEXT_DELTA, Event
from app.api.responses.output import Output
from app.api.responses.request import ENCRYPTED_REASONING, ResponseRequest
from app.api.responses.resource import Heading, status_of, terminal_event
from app.api.responses.shape import Shape
from app.backend.events import Usage
from app.errors import GatewayError
from app.http.wire import Payload

_TYPE = b'{"type":"%b"' % TEXT_DELTA.encode()
_NO_PIECE = b'"delta":""'


class ResponsesWire:
    """Rendering of one response: see `app.http.wire.Wire`.

    `keep` is called with the whole response before the end of a stream is told, `give_up` with one that has failed or
    was cancelled; both may block, and change it.
    """

    __slots__ = (
        "_cause",
        "_closing",
        "_heading",
        "_opening",
        "_sequence",
        "give_up",
        "keep",
        "output",
    )

    end: Payload | None = None

    def __init__(self, heading: Heading, request: ResponseRequest) -> None:
        self.keep: Callable[[dict[str, Any]], None] = lambda _: None
        self.give_up: Callable[[dict[str, Any]], None] = lambda _: None
        tools = {entry.tool.name: entry for entry in request.tools.tools}
        shows = ENCRYPTED_REASONING in request.body.given.get("include", ())
        self._heading = heading
        self._sequence = 0
        self._cause = Cause.FINISHED
        self._opening = self._closing = (
            b""  # of the latest event of a text: before its piece, and after it
        )
        self.output = Output(heading.id, tools, shows_encrypted=shows)

    def payloads(
        self, chunks: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterator[Payload]:
        """Yield the events of each chunk."""
        for chunk in singly(chunks):
            if isinstance(chunk, Text) and self.output.take_more(chunk.text):
                yield TEXT_DELTA, self._more(chunk.text)
                continue
            if isinstance(chunk, Cost):
                whole = self._whole(chunk.usage, summary())
                self.keep(whole)
                yield self._numbered(_lifecycle(terminal_event(whole["status"]), whole))
            for event in self._events(chunk):
                yield self._numbered(event)

    def _events(self, chunk: Chunk) -> Iterator[Event]:
        match chunk:
            case Began():
                yield _lifecycle("created", self._heading.begun())
                yield _lifecycle("in_progress", self._heading.begun())
            case Ended(cause=cause):
                self._cause = cause
                yield from self.output.take(chunk)
            case _:
                yield from self.output.take(chunk)

    def sign_of_life(self) -> Payload:
        """Return an event that adds nothing."""
        # Every reader knows it, which cannot be said of `keepalive`. Some take the response in it for the one to go on
        # with, so it has what is finished.
        event = self.output.silence()
        if event is None:
            so_far = self._heading.silent("in_progress", self.output.shown)
            event = _lifecycle("in_progress", so_far)
        return self._numbered(event)

    def error(self, error: GatewayError) -> Iterator[Payload]:
        """Yield the events of a response that came to nothing: what is open ends unfinished."""
        yield from self._broken_off(lambda: self._heading.failed(error, self.output.shown))

    def _broken_off(self, ended: Callable[[], dict[str, Any]]) -> Iterator[Payload]:
        for event in (*self.output.settle(), *self.output.cut()):
            yield self._numbered(event)
        response = ended()
        self.give_up(response)
        yield self._numbered(_lifecycle(terminal_event(response["status"]), response))

    def whole(self, chunks: Iterable[Chunk], summary: Summary) -> dict[str, Any]:
        """Return the response that the chunks add up to."""
        usage = None
        for chunk in chunks:
            if isinstance(chunk, Cost):
                usage = chunk.usage
            for _ in self._events(chunk):
                pass
        return self._whole(usage, summary)

    def _whole(self, usage: Usage | None, summary: Summary) -> dict[str, Any]:
        return self._heading.whole(self._cause, self.output.shown, usage, summary)

    def reason(self, cause: Cause) -> str:
        """Return OpenAI's `status`."""
        return status_of(cause)

    def _numbered(self, event: Event) -> Payload:
        kind = event["type"]
        if kind == TEXT_DELTA:
            # The next one differs in its number and its piece alone. A quotation mark in an id would be escaped.
            around = orjson.dumps(event | {"delta": ""}).removeprefix(_TYPE)
            self._opening, _, self._closing = around.partition(_NO_PIECE)
            return kind, self._piece(event["delta"])
        payload = _payload(event, self._sequence)
        self._sequence += 1
        return payload

    def _more(self, text: str) -> bytes:
        """Return the event of one more piece of the text that the last event was a piece of."""
        return self._piece(text)

    def _piece(self, text: str) -> bytes:
        """Return one more event of the text that is open."""
        number, self._sequence = self._sequence, self._sequence + 1
        return b'%b,"sequence_number":%d%b"delta":%b%b' % (
            _TYPE,
            number,
            self._opening,
            orjson.dumps(text),
            self._closing,
        )


class BackgroundWire(ResponsesWire):
    """Rendering of a response that goes on without its client. `shape` is what its stream has looked like so far."""

    __slots__ = ("_status", "shape")

    def __init__(self, heading: Heading, request: ResponseRequest) -> None:
        super().__init__(heading, request)
        self.shape = Shape()
        self._status = "queued"

    @property
    def last(self) -> int:
        """Number of the last event."""
        return self._sequence - 1

    def queued(self) -> Iterator[Payload]:
        """Yield the first events: it waits for its turn."""
        for name in ("created", "queued"):
            yield self._begin(name)

    def snapshot(self) -> dict[str, Any]:
        """Return the response as it stands."""
        return self._heading.begun(self._status) | {"output": [*self.output.shown]}

    def cancelled(self) -> Iterator[Payload]:
        """Yield the last events of a response that its caller has given up."""
        yield from self._broken_off(lambda: self._heading.cancelled(self.output.shown))

    def sign_of_life(self) -> Payload:
        """Return an event that adds nothing, under the number of the last one: each of several readers gets its own."""
        so_far = self._heading.silent(self._status, self.output.shown)
        event = self.output.silence() or _lifecycle("in_progress", so_far)
        return _payload(event, self.last)

    def _events(self, chunk: Chunk) -> Iterator[Event]:
        if not isinstance(chunk, Began):
            yield from super()._events(chunk)
            return
        self._status = "in_progress"
        self.shape.begun += 1
        yield _lifecycle("in_progress", self._heading.begun())

    def _begin(self, name: str) -> Payload:
        self.shape.begun += 1
        return self._numbered(_lifecycle(name, self._heading.begun("queued")))

    def _numbered(self, event: Event) -> Payload:
        self.shape.note(event)
        return super()._numbered(event)

    def _more(self, text: str) -> bytes:
        self.shape.note_more(text)
        return super()._more(text)


def _payload(event: Event, number: int) -> Payload:
    kind = event["type"]
    return kind, orjson.dumps({"type": kind, "sequence_number": number, **event})


def _lifecycle(name: str, response: dict[str, Any]) -> Event:
    return {"type": f"response.{name}", "response": response}
