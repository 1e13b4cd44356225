"""View of completions: check, answer each prompt."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response

from app.answers.plan import AnswerPlan, Prompt, RequestWords
from app.api.choices_wire import Envelope
from app.api.completions.described import CREATE
from app.api.completions.request import parse_request
from app.api.completions.wire import CompletionWire
from app.backend.request import TurnRequest
from app.errors import RequestPart
from app.http import respond
from app.http.body import read_request
from app.http.operation import described
from app.http.services import services

blueprint = Blueprint("completions", __name__)

WORDS = RequestWords(
    {RequestPart.PROMPT: "prompt", RequestPart.MODEL: "model"},
    too_long="Please reduce the length of the prompt.",
)


@blueprint.post("/v1/completions")
@described(CREATE)
def create_completion() -> Response:
    """Continue one or more prompts (OpenAI: create completion, legacy)."""
    request = read_request(
        partial(
            parse_request,
            max_choices=services().options.max_choices,
            needs_model=not respond.has_default_model(),
        )
    )
    resolved = respond.resolve_model(WORDS, request.model)
    echoes = request.prompts if request.echo else ("",) * len(request.prompts)
    who = respond.identity("cmpl-")
    envelope = Envelope(
        who.id, who.created, resolved.name, who.system_fingerprint, request.include_usage
    )
    prompts = tuple(
        Prompt(
            TurnRequest(resolved.model.id, request.items(text), resolved.effort, is_final=True),
            request.constraints(text),
            request.n,
        )
        for text in request.prompts
    )
    plan = AnswerPlan(prompts, WORDS, resolved, request.ignored)
    return respond.respond(
        plan,
        CompletionWire(envelope, tuple(echo for echo in echoes for _ in range(request.n))),
        is_stream=request.stream,
    )
