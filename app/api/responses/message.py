"""Message of a WebSocket to the Responses API: a body in an envelope; and what one that only prepares is told. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from app.answers.chunks import Began, Cause, Cost, Ended
from app.answers.field_errors import invalid_type, invalid_value, missing
from app.answers.summary import Summary
from app.api.responses.request import ResponseBody, ResponseRequest, parse_body
from app.api.responses.resource import Heading
from app.api.responses.wire import ResponsesWire
from app.backend.events import Usage
from app.errors import InvalidRequest
from app.http.wire import Payload

_CREATE = "response.create"
_ACKNOWLEDGED = "response.processed"
"""What codex says of a response that it has read. Nobody answers that."""

_ENVELOPE = frozenset({"type", "stream_id", "generate", "stream", "background"})
_LONGEST_ID = 128


class Session(Protocol):
    """What is told of a message before all else, for the errors that it comes to."""

    stream_id: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is to be answered. One that does not generate only prepares the next."""

    body: ResponseBody
    generates: bool


def is_acknowledgement(data: bytes) -> bool:
    """Return True for a message that says that a response was read."""
    if _ACKNOWLEDGED.encode() not in data:
        return False
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return isinstance(message, dict) and message.get("type") == _ACKNOWLEDGED


def parse_message(
    session: Session, message: Mapping[str, Any], *, needs_model: bool = True
) -> Message | None:
    """Check a message; return None for one that needs no answer. Raises `InvalidRequest`, which names the field."""
    session.stream_id = _stream_id(message)
    kind = message.get("type")
    if kind == _ACKNOWLEDGED:
        return None
    if kind is None:
        raise missing("type")
    if kind != _CREATE:
        raise invalid_value("type", kind, (_CREATE,))
    generates = message.get("generate")
    if generates is not None and not isinstance(generates, bool):
        raise invalid_type("generate", "a boolean", generates)
    if message.get("background"):
        raise InvalidRequest(
            "Unsupported parameter: 'background' is not supported over a WebSocket. Send the request with POST.",
            param="background",
            code="unsupported_parameter",
        )
    fields = {name: value for name, value in message.items() if name not in _ENVELOPE}
    fields["stream"] = True
    if generates is not False:
        return Message(parse_body(fields, needs_model=needs_model), generates=True)
    fields["store"] = False  # there is nothing to ask for
    parse = _nothing_yet if fields.get("input") in (None, []) else parse_body
    return Message(parse(fields, needs_model=needs_model), generates=False)


def _nothing_yet(fields: Mapping[str, Any], *, needs_model: bool) -> ResponseBody:
    """Return the body of a conversation that has not begun, which is nothing to generate from."""
    body = parse_body({**fields, "input": ""}, needs_model=needs_model)
    return ResponseBody({**body.given, "input": []}, body.ignored, (), body.names)


def _stream_id(message: Mapping[str, Any]) -> str | None:
    given = message.get("stream_id")
    if given is None:
        return None
    if not isinstance(given, str):
        raise invalid_type("stream_id", "a string", given)
    if not 0 < len(given) <= _LONGEST_ID:
        raise InvalidRequest(
            f"Invalid 'stream_id': expected a string of 1 to {_LONGEST_ID} characters.",
            param="stream_id",
        )
    return given


def prepared(heading: Heading, request: ResponseRequest) -> Iterator[Payload]:
    """Return the events of a response that only prepares the next: it says nothing, and costs nothing."""
    usage = Usage(0, 0, 0, 0, 0)
    summary = Summary(
        thread_id="",
        turn_id=None,
        generation=0,
        model=heading.model,
        effort=None,
        ignored_parameters=request.ignored,
        upstream="",
        ttft_ms=None,
        duration_ms=0,
        usage=usage,
        usage_estimated=False,
        cause=Cause.FINISHED,
    )
    chunks = (Began(0), Ended(0, Cause.FINISHED), Cost(usage))
    return ResponsesWire(heading, request).payloads(chunks, lambda: summary)
