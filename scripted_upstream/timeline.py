"""Timeline of an answer: the acts for the socket (send, pause, hold, hang, reset) of a response. Pure.

All decisions about order and pace are taken here, without a socket or a clock; `exchange` merely
performs the acts. Sends are joined to at most 16 KiB wherever nothing has to happen between them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Literal, TypeAlias

import orjson

from scripted_upstream.envelope import Stamp, response_object, usage_object
from scripted_upstream.events import (
    ENCODED_NONCE,
    FIRST_ITEM_EVENT,
    Frame,
    encode_event,
    render_items,
)
from scripted_upstream.failures import (
    ErrorEvent,
    FailedEvent,
    GarbageLine,
    Headers,
    HttpFailure,
    WireFailure,
)
from scripted_upstream.script import Response

MAX_SEND = 16 * 1024
"""Bytes in one write of joined events; a larger single event is written alone."""

_MAX_PIECE = 7


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer that is no stream."""

    status: int
    body: bytes
    content_type: str
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of the stream; `headers` come on top of the usual ones."""

    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Send:
    """Body bytes, in one write."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many milliseconds."""

    ms: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait until the control endpoint releases the response."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Misbehave, and do nothing more: `hang`, `reset` (RST) or `cut` (FIN, the body unfinished).

    `endless_head` and `endless_line` write for ever what never becomes a whole head, or a whole line of the stream.
    """

    how: Literal["hang", "reset", "cut", "endless_head", "endless_line"]


@dataclass(frozen=True, slots=True)
class End:
    """The body is whole; the connection may be used again."""


Act: TypeAlias = Reply | Head | Send | Pause | Hold | Leave | End


def plan(response: Response, request: dict[str, Any], stamp: Stamp) -> tuple[Act, ...]:
    """Return everything that serving this response to this request does, in order."""
    acts: list[Act] = [Pause(response.delay_ms)] if response.delay_ms else []
    if response.hold_before_headers:
        acts.append(Hold())
    acts.extend(_answer(response, request, stamp))
    if response.split_seed is not None:
        return tuple(_split(acts, Random(response.split_seed)))  # noqa: S311 - a seed, no secret
    return tuple(acts)


def _answer(response: Response, request: dict[str, Any], stamp: Stamp) -> Iterator[Act]:
    failure = response.failure
    if isinstance(failure, HttpFailure):
        yield Reply(failure.status, failure.body, failure.content_type, failure.headers)
        return
    if isinstance(failure, WireFailure) and failure.place == "before_headers":
        yield _leave(failure)
        return
    yield Head(response.headers)
    if isinstance(failure, WireFailure) and failure.place == "after_headers":
        yield _leave(failure)
        return
    opening = response_object(request, stamp, status="in_progress")
    created = encode_event("response.created", 0, {"response": opening})
    yield Send(created + encode_event("response.in_progress", 1, {"response": opening}))
    nonce = stamp.nonce.encode()
    for act in _middle(response):
        yield Send(act.data.replace(ENCODED_NONCE, nonce)) if isinstance(act, Send) else act
    if isinstance(failure, WireFailure):
        yield _leave(failure)
        return
    if response.hold == "end":
        yield Hold()
    yield Send(_terminal(response, request, stamp))
    yield End()


def _leave(failure: WireFailure) -> Act:
    if failure.act == "endless":
        is_head = failure.place == "before_headers"
        return Leave("endless_head" if is_head else "endless_line")
    return End() if failure.act == "eof" else Leave(failure.act)


def _terminal(response: Response, request: dict[str, Any], stamp: Stamp) -> bytes:
    failure = response.failure
    sequence = FIRST_ITEM_EVENT + len(_streamed(response))
    if isinstance(failure, ErrorEvent):
        fields = {"code": failure.code, "message": failure.message, "param": None}
        return encode_event("error", sequence, fields)
    if isinstance(failure, FailedEvent):
        error = {"code": failure.code, "message": failure.message}
        body = response_object(request, stamp, status="failed", error=error)
        return encode_event("response.failed", sequence, {"response": body})
    rendered = render_items(response)
    status: Literal["completed", "incomplete"] = (
        "completed" if response.incomplete is None else "incomplete"
    )
    body = response_object(
        request,
        stamp,
        status=status,
        incomplete=response.incomplete,
        output=orjson.Fragment(rendered.output.replace(ENCODED_NONCE, stamp.nonce.encode())),
        usage=usage_object(response.usage, request, rendered, stamp.charge),
    )
    return encode_event(f"response.{status}", sequence, {"response": body})


@lru_cache(maxsize=256)
def _middle(response: Response) -> tuple[Act, ...]:
    """Pace and join the item events; the nonce is still its placeholder."""
    return tuple(_joined(_paced(response)))


def _paced(response: Response) -> Iterator[Act]:
    frames = _streamed(response)
    held = _held(response, sum(frame.is_delta for frame in frames))
    deltas = 0
    for frame in frames:
        pause = response.interval_ms if deltas else response.first_delta_ms
        if frame.is_delta and pause:
            yield Pause(pause)
        yield Send(frame.data)
        deltas += frame.is_delta
        if frame.is_delta and deltas in held:
            yield Hold()
    if 0 in held:
        yield Hold()


def _held(response: Response, deltas: int) -> Sequence[int]:
    """Return after which deltas the answer is held; after 0, where there are none, is behind the items."""
    if response.hold == "each":
        return range(1, deltas + 1)
    if response.hold_after:
        return (response.hold_after,)
    return (deltas,) if response.hold == "deltas" else ()


def _joined(acts: Iterator[Act]) -> Iterator[Act]:
    """Join neighbouring writes up to MAX_SEND bytes."""
    waiting = bytearray()
    for act in acts:
        size = len(act.data) if isinstance(act, Send) else MAX_SEND
        if waiting and len(waiting) + size > MAX_SEND:
            yield Send(bytes(waiting))
            waiting.clear()
        if isinstance(act, Send):
            waiting += act.data
        else:
            yield act
    if waiting:
        yield Send(bytes(waiting))


def _streamed(response: Response) -> tuple[Frame, ...]:
    """Return the item events that are really sent: a failure stops after its N-th delta."""
    frames = render_items(response).frames
    if response.failure is None:
        return frames
    deltas = [place for place, frame in enumerate(frames) if frame.is_delta]
    after = min(response.after_deltas, len(deltas))
    cut = deltas[after - 1] + 1 if after else 0
    if isinstance(response.failure, GarbageLine):
        garbage = Frame(response.failure.line.encode() + b"\n\n")
        return (*frames[:cut], garbage, *frames[cut:])
    return frames[:cut]


def _split(acts: list[Act], dice: Random) -> Iterator[Act]:
    """Cut every write into pieces of a few bytes, also inside characters and line ends."""
    for act in acts:
        if not isinstance(act, Send):
            yield act
            continue
        at = 0
        while at < len(act.data):
            size = dice.randint(1, _MAX_PIECE)
            yield Send(act.data[at : at + size])
            at += size
