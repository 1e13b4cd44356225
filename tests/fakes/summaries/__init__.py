"""Endpoint with field names and end reasons of its own, thrown away after its test: `POST /v1/summaries`.

Takes `{"text", "by", "stream"?, "max_words"?}`; streams events with names and no last message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson
from flask import Blueprint, Response

from app.answers.chunks import Cause, Chunk, Ended, Text
from app.answers.constraints import AnswerConstraints
from app.answers.plan import AnswerPlan, Prompt, RequestWords
from app.answers.summary import Summary
from app.backend.request import TurnRequest
from app.errors import GatewayError, RequestPart
from app.http import respond
from app.http.body import read_json_object
from app.http.wire import Payload

blueprint = Blueprint("summaries", __name__)

WORDS = RequestWords(
    {RequestPart.PROMPT: "text", RequestPart.MODEL: "by"},
    too_long="Please reduce the length of the text.",
)
REASONS = {Cause.FINISHED: "done", Cause.TOKEN_LIMIT: "cut"}


class SummaryWire:
    """Rendering of one summary."""

    end: Payload | None = None

    def reason(self, cause: Cause) -> str:
        return REASONS.get(cause, "other")

    def payloads(
        self, chunks: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterator[Payload]:
        for chunk in chunks:
            match chunk:
                case Text(text=text):
                    yield "summary.piece", orjson.dumps({"piece": text})
                case Ended(cause=cause):
                    yield "summary.over", orjson.dumps({"end": self.reason(cause)})

    def sign_of_life(self) -> Payload:
        return "summary.piece", orjson.dumps({"piece": ""})

    def error(self, error: GatewayError) -> Payload:
        return "summary.failed", orjson.dumps(error.to_envelope())

    def whole(self, chunks: Iterable[Chunk], summary: Summary) -> dict[str, Any]:
        chunks = [*chunks]
        pieces = [chunk.text for chunk in chunks if isinstance(chunk, Text)]
        (end,) = [self.reason(chunk.cause) for chunk in chunks if isinstance(chunk, Ended)]
        return {"summary": "".join(pieces), "end": end, "model": summary.model}


@blueprint.post("/v1/summaries")
def create_summary() -> Response:
    """Answer with the summary of one text."""
    body = read_json_object()
    resolved = respond.resolve_model(WORDS, body.get("by"))
    content = [{"type": "input_text", "text": body["text"]}]
    items = ({"type": "message", "role": "user", "content": content},)
    constraints = AnswerConstraints(max_tokens=body.get("max_words"))
    prompt = Prompt(TurnRequest(resolved.model.id, items), constraints)
    plan = AnswerPlan((prompt,), WORDS, resolved)
    return respond.respond(plan, SummaryWire(), is_stream=body.get("stream", False))
