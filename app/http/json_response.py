"""JSON response: a whole answer as one object."""

from __future__ import annotations

import orjson
from flask import Response

from app.answers.answer import Answer
from app.answers.chunks import Chunk, without_discarded
from app.answers.summary import Summary
from app.http import long_work
from app.http.request_context import current_record
from app.http.wire import Wire

_MANY = 5_000
"""Chunks of one answer. To put fewer together takes some milliseconds."""


def respond(answer: Answer, wire: Wire) -> Response:
    """Run an answer to its end and answer with one object. Blocks; raises `GatewayError`."""
    chunks: list[Chunk] = []
    try:
        for more in answer:
            chunks += more or ()
        body = long_work.run_if(len(chunks) > _MANY, _whole, wire, chunks, answer.summary())
    finally:
        current_record().note_answer(answer.summary(), wire.reason)
        answer.close()
    return Response(body, content_type="application/json")


def _whole(wire: Wire, chunks: list[Chunk], summary: Summary) -> bytes:
    return orjson.dumps(wire.whole(without_discarded(chunks), summary))
