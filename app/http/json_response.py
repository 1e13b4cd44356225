"""JSON response: a whole answer as one object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from flask import Response

from app.answers.answer import Answer
from app.answers.chunks import Chunk, without_discarded
from app.answers.summary import Summary
from app.http import long_work
from app.http.own_response import OwnResponse
from app.http.request_context import current_record
from app.http.wire import Wire

_MANY = 5_000
"""Chunks of one answer. To put fewer together takes some milliseconds."""


def respond(
    answer: Answer, wire: Wire, before_sent: Callable[[dict[str, Any]], None] | None = None
) -> Response:
    """Run an answer to its end and answer with one object. Blocks; raises `GatewayError`.

    `before_sent` is called with the object; it may block, and change it.
    """
    chunks: list[Chunk] = []
    try:
        for more in answer:
            chunks += more or ()
        is_long = len(chunks) > _MANY
        whole = long_work.run_if(is_long, _whole, wire, chunks, answer.summary())
        if before_sent is not None:
            before_sent(whole)
        body = long_work.run_if(is_long, orjson.dumps, whole)
    finally:
        current_record().note_answer(answer.summary(), wire.reason)
        answer.close()
    return OwnResponse(body, content_type="application/json")


def _whole(wire: Wire, chunks: list[Chunk], summary: Summary) -> dict[str, Any]:
    return wire.whole(without_discarded(chunks), summary)
