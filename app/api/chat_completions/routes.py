"""Check, translate, run the turn, answer: whole or as a stream."""

from __future__ import annotations

import secrets
import time
from typing import Any

from flask import Blueprint, Response, current_app

from app.api.chat_completions.schemas import ChatRequest, parse_request
from app.api.chat_completions.wire import ChatAnswer, Envelope
from app.codex.client import Codex
from app.codex.events import TurnRequest
from app.edge import answers
from app.edge.body import read_json_object
from app.edge.context import current_record
from app.translation.models import check_effort, find_model

blueprint = Blueprint("chat_completions", __name__)


@blueprint.post("/v1/chat/completions")
def create_chat_completion() -> Response:
    """Answer one conversation (OpenAI: create chat completion)."""
    request = parse_request(read_json_object())
    record = current_record()
    record.stream, record.ignored_parameters = request.stream, request.ignored
    codex: Codex = current_app.extensions["codex"]
    model = find_model(codex.models(), request.model)
    record.model = model.id
    effort = check_effort(model, request.effort)
    turn = codex.start_turn(TurnRequest(model.id, request.items, effort))
    record.generation = turn.generation

    def describe() -> dict[str, Any]:
        return {
            "thread_id": turn.thread_id,
            "turn_id": turn.turn_id,
            "model": model.id,
            "effort": effort or model.default_effort,
            "ignored_parameters": list(request.ignored),
            "ttft_ms": answers.ttft_ms(turn),
            "duration_ms": answers.duration_ms(turn),
            "upstream": codex.upstream.value,
        }

    respond = answers.stream if request.stream else answers.whole
    return respond(turn, ChatAnswer(_envelope(request)), current_app.extensions["pace"], describe)


def _envelope(request: ChatRequest) -> Envelope:
    return Envelope(
        id=f"chatcmpl-{secrets.token_urlsafe(22)}",
        created=int(time.time()),
        model=request.model,
        system_fingerprint=current_app.config["SYSTEM_FINGERPRINT"],
        include_usage=request.include_usage,
    )
