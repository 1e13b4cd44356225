"""Request bodies: read whole, within limits and deadlines, decompressed, and only then parsed.

What a body costs is known before it is parsed, and a long one is parsed where it holds up nobody.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson
from flask import Request
from gevent import Timeout
from gunicorn.http.errors import ParseException

from app.answers.field_errors import invalid_type
from app.budget import Reservation
from app.errors import (
    BodyTimeout,
    BodyTooLarge,
    InvalidJson,
    InvalidRequest,
    TooManyValues,
    UnsupportedContentType,
)
from app.http.body_budget import BLOCK_BYTES
from app.http.compressed_body import Bounds, decompress
from app.http.content_codings import Coding, codings_of
from app.http.long_work import run
from app.http.request_context import current_record, current_request
from app.http.request_lifetime import current_lifetime
from app.http.services import services
from app.json_cost import MOST_VALUES, ValueCount
from app.pause import pause

Parsed = TypeVar("Parsed")


def read_request(parse: Callable[[dict[str, Any]], Parsed]) -> Parsed:
    """Return what `parse` makes of the body, a JSON object. Blocks while it arrives.

    `parse` must need nothing of the request: a long body is parsed in a thread. Raises what it raises, and
    `UnsupportedContentEncoding`, `UnsupportedContentType`, `BodyTooLarge`, `TooManyValues`, `BodyTimeout`,
    `InvalidJson`, `WorkerBusy` where the bodies of all requests together are too large, or `InvalidRequest` for JSON
    that is no object. The limits hold for chunked bodies too, which declare no length, and for what a compressed one
    becomes.
    """
    request = current_request()
    codings = codings_of(request.environ.get("HTTP_CONTENT_ENCODING", ""))
    _check_content_type(request.mimetype)
    return run(_parse, _read(request, codings), parse)


def read_json_object() -> dict[str, Any]:
    """Return the body as a dictionary. Blocks and raises as `read_request` does."""
    return read_request(lambda body: body)


def _parse(raw: bytes, parse: Callable[[dict[str, Any]], Parsed]) -> Parsed:
    try:
        # Some editors and .NET's default encoder begin with a mark that JSON does not have (RFC 8259, section 8.1).
        body = orjson.loads(raw.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        if error.msg.startswith(_NO_MEMORY):
            raise MemoryError from error
        raise InvalidJson(
            f"We could not parse the JSON body of your request: {error.msg} (position {error.pos}). "
            "It must be a JSON object in UTF-8."
        ) from error
    if not isinstance(body, dict):
        raise invalid_type("body", "an object", body)
    return parse(body)


_NO_MEMORY = "Not enough memory"
"""So orjson says it, as a mistake in the text."""


def _check_content_type(given: str) -> None:
    if given != "application/json" and not given.endswith("+json"):
        declared = f"'{given[:80]}'" if given else "no Content-Type"
        raise UnsupportedContentType(
            f"This endpoint accepts only 'application/json', but your request declared {declared}. "
            "Add the header 'Content-Type: application/json'."
        )


def _read(request: Request, codings: Sequence[Coding]) -> bytes:
    here, record, declared = services(), current_record(), request.content_length
    limit, timeout_s = here.options.max_body_bytes, here.options.body_timeout_s
    if declared is not None and declared > limit:
        raise _too_large(limit)
    budget = here.bodies
    owner = record.key_name or ""
    memory = budget.memory.reserve(
        owner, 0
    )  # grows with the body, and is held until the request is over
    current_lifetime().on_close(memory.release)
    too_late = BodyTimeout(f"The body did not arrive within {timeout_s:g} seconds.")
    # Straight from the server: werkzeug's own limit cuts a chunked body off silently.
    read: Callable[[int], bytes] = request.environ["wsgi.input"].read
    check = _value_check()
    with Timeout(timeout_s, too_late), budget.arriving.reserve(owner):
        blocks = read_blocks(read, limit, memory, None if codings else check, declared)
    size = sum(map(len, blocks))
    if size > limit:
        raise _too_large(limit)
    if declared is not None and size < declared:
        raise InvalidRequest("The body ended before its declared length.", code="INCOMPLETE_BODY")
    if codings:
        record.compressed_bytes = size
        off_loop = here.off_loop.run_of(owner)
        blocks = decompress(blocks, codings, Bounds(limit, memory, check), off_loop)
    raw = b"".join(blocks)
    record.request_bytes = len(raw)
    return raw


def read_blocks(
    read: Callable[[int], bytes],
    limit: int,
    memory: Reservation,
    check: Callable[[bytes], None] | None = None,
    declared: int | None = None,
) -> deque[bytes]:
    """Return the blocks of a body, or just more than `limit` bytes of it. `memory` grows by what was read. Blocks.

    While it waits for a block, what that may take is set aside. `check` looks at each. After as many bytes as were
    `declared` there are no more. Raises what `check` raises, `WorkerBusy` if there is not as much left, `BodyTimeout`
    where `read` times out, or `InvalidRequest` where it fails.
    """
    blocks: deque[bytes] = deque()
    left = limit + 1
    end = None if declared is None else left - declared
    try:
        while left > 0 and left != end:
            size = min(left, BLOCK_BYTES)
            memory.grow(size)
            block = b""
            try:
                block = read(size)
            finally:
                memory.shrink(size - len(block))
            if not block:
                break
            if check is not None:
                check(block)
            blocks.append(block)
            left -= len(block)
            if len(block) == size:
                pause()  # a body that is all there would be read without a pause for other greenlets
    except TimeoutError as error:
        raise BodyTimeout("The body stopped arriving before it was whole.") from error
    except (OSError, ParseException) as error:
        raise InvalidRequest(
            "The body ended early or is not valid chunked coding.", code="INCOMPLETE_BODY"
        ) from error
    return blocks


def _value_check() -> Callable[[bytes], None]:
    """Return what raises `TooManyValues` at the block with which a body has them."""
    count = ValueCount()

    def check(block: bytes) -> None:
        if count.feed(block) > MOST_VALUES:
            raise TooManyValues(
                f"The body has more than {MOST_VALUES} JSON values (numbers, strings, objects, arrays), which is as "
                "many as this gateway accepts. Send fewer, or longer, texts."
            )

    return check


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than this gateway accepts ({limit} bytes).")
