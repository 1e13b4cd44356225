"""Views of the Responses API: check, look up what the request goes on with, translate, answer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from flask import Blueprint, Response

from app.answers.model_names import Resolved
from app.answers.plan import AnswerPlan, Prompt, RequestWords
from app.api.responses.request import ResponseRequest, parse_body, to_request
from app.api.responses.resource import Heading
from app.api.responses.wire import ResponsesWire
from app.backend.request import TurnRequest
from app.errors import RequestPart
from app.http import long_work, respond
from app.http.body import read_request
from app.http.conversation_name import conversation_name

blueprint = Blueprint("responses", __name__)

WORDS = RequestWords(
    {
        RequestPart.PROMPT: "input",
        RequestPart.TOOLS: "tools",
        RequestPart.MODEL: "model",
        RequestPart.EFFORT: "reasoning.effort",
        RequestPart.FORMAT: "text.format",
        RequestPart.VERBOSITY: "text.verbosity",
        RequestPart.SERVICE_TIER: "service_tier",
    },
    too_long="Please reduce the length of the input.",
    images="input.content.input_image",
)


@blueprint.post("/v1/responses")
def create_response() -> Response:
    """Answer one request (OpenAI: create a model response)."""
    body = read_request(partial(parse_body, needs_model=not respond.has_default_model()))
    request = long_work.run(to_request, body)
    words = replace(WORDS, tools=request.tools.fields) if request.tools.tools else WORDS
    resolved = respond.resolve_model(words, request.model, request.effort)
    who = respond.identity("resp_")
    effort = resolved.effort or resolved.model.default_effort
    heading = Heading(who.id, who.created, resolved.name, request, effort)
    prompt = Prompt(
        to_turn_request(request, resolved, conversation_name(body.names)),
        request.constraints,
        1,
        request.image_fields,
        request.instructions,
        past_images=request.past_images,
        pixels=request.pixels,
    )
    plan = AnswerPlan((prompt,), words, resolved, request.ignored)
    return respond.respond(plan, ResponsesWire(heading), is_stream=request.stream)


def to_turn_request(
    request: ResponseRequest, resolved: Resolved, conversation: str | None = None
) -> TurnRequest:
    """Return what the backend is asked."""
    return TurnRequest(
        model=resolved.model.id,
        items=request.items,
        effort=resolved.effort,
        summary=request.summary,
        tools=request.dynamic_tools,
        output_schema=request.output_schema,
        service_tier=request.service_tier,
        verbosity=request.verbosity,
        conversation=conversation,
    )
