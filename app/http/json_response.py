"""JSON response: a whole answer as one object."""

from __future__ import annotations

import orjson
from flask import Response

from app.answers.answer import Answer
from app.answers.chunks import Chunk, without_discarded
from app.http.request_context import current_record
from app.http.wire import Wire


def respond(answer: Answer, wire: Wire) -> Response:
    """Run an answer to its end and answer with one object. Blocks; raises `GatewayError`."""
    chunks: list[Chunk] = []
    try:
        for more in answer:
            chunks += more or ()
        body = wire.whole(without_discarded(chunks), answer.summary())
    finally:
        current_record().note_answer(answer.summary(), wire.reason)
        answer.close()
    return Response(orjson.dumps(body), content_type="application/json")
