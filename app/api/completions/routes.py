"""Check, run a turn for each choice of each prompt, answer: whole or as a stream."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, current_app

from app.api.completions.request import parse_request
from app.api.completions.wire import CompletionWire, Envelope
from app.backend.request import TurnRequest
from app.http import respond
from app.http.body import read_json_object

blueprint = Blueprint("completions", __name__)


@blueprint.post("/v1/completions")
def create_completion() -> Response:
    """Continue one or more prompts (OpenAI: create completion, legacy)."""
    request = parse_request(
        read_json_object(),
        max_choices=current_app.config["MAX_CHOICES"],
        needs_model=not respond.has_default_model(),
    )
    resolved = respond.resolve_model(request.model)
    prompts = [prompt for prompt in request.prompts for _ in range(request.n)]
    envelope = Envelope(
        **asdict(respond.identity("cmpl")),
        model=resolved.name,
        include_usage=request.include_usage,
        echoes=tuple(prompt if request.echo else "" for prompt in prompts),
    )
    return respond.respond(
        [
            TurnRequest(resolved.model.id, request.items(prompt), resolved.effort)
            for prompt in prompts
        ],
        request.rules,
        CompletionWire(envelope),
        resolved,
        ignored=request.ignored,
        is_stream=request.stream,
    )
