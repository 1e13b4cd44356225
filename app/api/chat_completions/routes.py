"""View of chat completions: check, translate, answer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from flask import Blueprint, Response

from app.answers.model_names import Resolved
from app.answers.plan import AnswerPlan, Prompt, RequestWords
from app.api.chat_completions.described import CREATE
from app.api.chat_completions.request import ChatRequest, parse_request
from app.api.chat_completions.wire import ChatWire
from app.api.choices_wire import Envelope
from app.backend.request import TurnRequest
from app.errors import RequestPart
from app.http import respond
from app.http.body import read_request
from app.http.conversation_name import conversation_name
from app.http.operation import described
from app.http.services import services

blueprint = Blueprint("chat_completions", __name__)

WORDS = RequestWords(
    {
        RequestPart.PROMPT: "messages",
        RequestPart.TOOLS: "tools",
        RequestPart.MODEL: "model",
        RequestPart.EFFORT: "reasoning_effort",
        RequestPart.FORMAT: "response_format",
        RequestPart.VERBOSITY: "verbosity",
        RequestPart.SERVICE_TIER: "service_tier",
    },
    too_long="Please reduce the length of the messages.",
    images="messages.content.image_url",
)


@blueprint.post("/v1/chat/completions")
@described(CREATE)
def create_chat_completion() -> Response:
    """Answer one conversation (OpenAI: create chat completion)."""
    options = services().options
    request = read_request(
        partial(
            parse_request,
            max_choices=options.max_choices,
            shows_reasoning=options.shows_reasoning,
            commentary_is_reasoning=options.commentary_is_reasoning,
            needs_model=not respond.has_default_model(),
        )
    )
    words = _words_for(request)
    resolved = respond.resolve_model(words, request.model, request.effort)
    who = respond.identity("chatcmpl-")
    envelope = Envelope(
        who.id, who.created, resolved.name, who.system_fingerprint, request.include_usage
    )
    prompt = Prompt(
        to_turn_request(request, resolved, conversation_name(request.names)),
        request.constraints,
        request.n,
        request.image_fields,
        request.instructions,
        past_images=request.past_images,
        pixels=request.pixels,
    )
    plan = AnswerPlan((prompt,), words, resolved, request.ignored)
    wire = ChatWire(envelope, legacy_calls=request.legacy_calls, custom=request.custom_tools)
    return respond.respond(plan, wire, is_stream=request.stream)


def _words_for(request: ChatRequest) -> RequestWords:
    """Return the endpoint's words with what this one request adds; a stream keeps them, so most share one object."""
    own = request.fields
    if not own.tools and own.effort == WORDS.fields[RequestPart.EFFORT]:
        return WORDS
    return replace(WORDS, fields={**WORDS.fields, RequestPart.EFFORT: own.effort}, tools=own.tools)


def to_turn_request(
    request: ChatRequest, resolved: Resolved, conversation: str | None = None
) -> TurnRequest:
    """Return what the backend is asked."""
    return TurnRequest(
        model=resolved.model.id,
        items=request.items,
        effort=resolved.effort,
        summary="auto" if request.constraints.shows_reasoning else None,
        tools=request.dynamic_tools,
        output_schema=request.output_schema,
        service_tier=request.service_tier,
        verbosity=request.verbosity,
        conversation=conversation,
    )
