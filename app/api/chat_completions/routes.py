"""Check, translate, run the turns, answer: whole or as a stream."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, current_app

from app.answers.model_names import Resolved
from app.api.chat_completions.request import ChatRequest, parse_request
from app.api.chat_completions.wire import ChatWire, Envelope
from app.backend.request import TurnRequest
from app.http import respond
from app.http.body import read_json_object

blueprint = Blueprint("chat_completions", __name__)


@blueprint.post("/v1/chat/completions")
def create_chat_completion() -> Response:
    """Answer one conversation (OpenAI: create chat completion)."""
    request = parse_request(
        read_json_object(),
        max_choices=current_app.config["MAX_CHOICES"],
        shows_reasoning=current_app.config["SHOWS_REASONING"],
        needs_model=not respond.has_default_model(),
    )
    resolved = respond.resolve_model(request.model, request.effort)
    envelope = Envelope(
        **asdict(respond.identity("chatcmpl")),
        model=resolved.name,
        include_usage=request.include_usage,
        legacy_calls=request.legacy_calls,
    )
    return respond.respond(
        [to_turn_request(request, resolved)] * request.n,
        [request.rules] * request.n,
        ChatWire(envelope),
        resolved,
        ignored=request.ignored,
        is_stream=request.stream,
    )


def to_turn_request(request: ChatRequest, resolved: Resolved) -> TurnRequest:
    """Return what codex is asked."""
    return TurnRequest(
        model=resolved.model.id,
        items=request.items,
        effort=resolved.effort,
        summary="auto" if request.rules.shows_reasoning else None,
        tools=request.dynamic_tools,
        output_schema=request.output_schema,
        service_tier=request.service_tier,
        verbosity=request.verbosity,
    )
