"""Listing of what was kept: pages of input items, and a response as the stream that it might have been."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Response, request

from app.answer_store.stored_answer import StoredAnswer
from app.answers.field_errors import invalid_value
from app.api.responses.input_list import joined, listed
from app.api.responses.kept import shown
from app.api.responses.replay import events
from app.api.responses.shape import Shape
from app.backend.request import Item
from app.errors import GatewayError, InvalidRequest
from app.http import long_work, sse
from app.http.frames import frame

_LONG_BYTES = 64 * 1024
REPLAY_COPIES = 6
"""A text stands in five events: those of its pieces, its own end, its part's, its item's, and the response's."""

_QUEUED = 2
"""Events before a response has its turn."""

_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Which page of a list: at most `limit` entries, those behind the one of the id `after`."""

    limit: int
    is_ascending: bool
    after: str | None


def page_options() -> PageOptions:
    """Read the query of the request at hand. Raises `InvalidRequest`."""
    order = request.args.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid_value("order", order, ("asc", "desc"))
    limit = _number("limit", 20, 1, 100)
    return PageOptions(limit, order == "asc", request.args.get("after"))


def page(items: Sequence[Item], options: PageOptions) -> bytes:
    """Return a page of items as OpenAI lists them, as JSON. Raises `InvalidRequest`."""
    ordered = [*items] if options.is_ascending else [*reversed(items)]
    first = 0
    if options.after is not None:
        ids = [item.get("id") for item in ordered]
        if options.after not in ids:
            raise InvalidRequest(
                f"Invalid 'after': there is no item '{options.after[:80]}' in this list.",
                param="after",
            )
        first = ids.index(options.after) + 1
    shown = listed(ordered[first : first + options.limit])
    body = {
        "object": "list",
        "data": orjson.Fragment(joined(map(orjson.dumps, shown))),
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": first + options.limit < len(ordered),
    }
    return orjson.dumps(body)


def replay_after() -> int | None:
    """Return behind which event a stream is asked for, -1 for all of it; None where the response itself is."""
    if request.args.get("stream", "false").lower() != "true":
        return None
    return _number("starting_after", -1, -1, 1 << 40)


def replay(stored: StoredAnswer, after: int) -> Response:
    """Return a response that is over as a stream of its events, those behind the number `after`."""
    is_long = len(stored.answer) + len(stored.shape) > _LONG_BYTES
    return sse.finished(long_work.run_if(is_long, frames, shown(stored), stored.shape, after))


def frames(answer: bytes, shape: bytes, after: int) -> bytes:
    """Return the events of a response behind a number, as they go out. Its end is always among them."""
    found = [*events(orjson.loads(answer), Shape.parse(shape))]
    return b"".join(_numbered(found, after))


def first_frames(answer: bytes, after: int) -> bytes:
    """Return the first events of a response that is still in the making."""
    found = [*events(orjson.loads(answer), Shape(_QUEUED))][:_QUEUED]
    return b"".join(_numbered(found, after, is_whole=False))


def error_frame(error: GatewayError, number: int) -> bytes:
    """Return the event of a stream that cannot be told any further, under the number of the last that was."""
    kind, words = "error", error.to_envelope()["error"]
    event = {"type": kind, "sequence_number": max(number, 0)}
    event |= {name: words[name] for name in ("code", "message", "param")}
    return frame((kind, orjson.dumps(event)))


def _numbered(
    found: Sequence[Mapping[str, Any]], after: int, *, is_whole: bool = True
) -> Iterator[bytes]:
    last = len(found) - 1
    for number, event in enumerate(found):
        # One that was lost had more events than anybody knows now.
        shown_as = max(number, after + 1) if is_whole and number == last else number
        if shown_as > after:
            data = orjson.dumps({"type": event["type"], "sequence_number": shown_as, **event})
            yield frame((event["type"], data))


def _number(name: str, default: int, least: int, most: int) -> int:
    given = request.args.get(name)
    if given is None:
        return default
    if not _INTEGER.fullmatch(given) or not least <= int(given) <= most:
        raise InvalidRequest(
            f"Invalid '{name}': expected an integer from {max(least, 0)} to {most}.", param=name
        )
    return int(given)
