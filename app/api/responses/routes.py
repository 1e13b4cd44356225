"""Views of the Responses API: a request is checked, put together with what it goes on with, translated and answered.

What was answered can be asked for again, by the key that it was answered to.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from flask import Blueprint, Response

from app.answers.model_names import Resolved
from app.answers.plan import AnswerPlan, Prompt, RequestWords
from app.api.responses import background, kept, listing
from app.api.responses import described as documents
from app.api.responses.compact import CompactionWire, compacting, parse_compaction
from app.api.responses.message import is_acknowledgement, parse_message, prepared
from app.api.responses.request import ResponseBody, ResponseRequest, parse_body, to_request
from app.api.responses.resource import Heading
from app.api.responses.wire import BackgroundWire, ResponsesWire
from app.backend.request import TurnRequest
from app.errors import GatewayError, RequestPart
from app.http import long_work, respond, sse
from app.http.body import read_request
from app.http.conversation_name import conversation_name
from app.http.operation import described
from app.http.websocket_session import WebSocketSession, current_session
from app.http.websocket_upgrade import upgrade

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
@described(documents.CREATE)
def create_response() -> Response:
    """Answer one request (OpenAI: create a model response)."""
    if (session := current_session()) is not None:
        return _answer_message(session)
    return _answer(read_request(partial(parse_body, needs_model=not respond.has_default_model())))


@blueprint.route("/v1/responses", methods=["GET"], websocket=True, provide_automatic_options=False)
@described(documents.CONNECT)
def connect() -> Response:
    """Open a WebSocket, on which each message is a request (OpenAI: WebSocket mode)."""
    return upgrade(is_acknowledgement)


def _answer_message(session: WebSocketSession) -> Response:
    """Answer one message of a WebSocket."""
    needs_model = not respond.has_default_model()
    message = read_request(partial(parse_message, session, needs_model=needs_model))
    if message is None:
        return Response(status=204)
    session.continues = message.body.previous_id
    if message.generates:
        return _answer(message.body, session)
    before = _look_up(message.body)
    request = long_work.run(to_request, message.body, before.items, before.references)
    _, heading = _plan(request, before)
    session.answers.keep(kept.unanswered(message.body, before, heading))
    return sse.finished(b"".join(map(session.frame, prepared(heading, request))))


def _answer(body: ResponseBody, session: WebSocketSession | None = None) -> Response:
    before = _look_up(body)
    request = long_work.run(to_request, body, before.items, before.references)
    plan, heading = _plan(request, before)
    if body.is_background:
        stored = kept.unanswered(body, before, heading)
        return background.respond_in_background(
            plan, BackgroundWire(heading, request), stored, request
        )
    wire = ResponsesWire(heading, request)
    wire.keep = kept.keeper(body, before, heading, wire.output.kept)
    if session is not None:
        wire.give_up = lambda _: session.answers.forget(body.previous_id)
    return respond.respond(plan, wire, is_stream=request.stream, before_sent=wire.keep)


@blueprint.post("/v1/responses/compact")
@described(documents.COMPACT)
def compact_conversation() -> Response:
    """Return a conversation that is shorter and can be continued (OpenAI: compact a response)."""
    body = read_request(partial(parse_compaction, needs_model=not respond.has_default_model()))
    before = _look_up(body)
    request = long_work.run(to_request, body, before.items, before.references)
    plan, heading = _plan(compacting(request), before)
    wire = CompactionWire(heading, request, before.items, before.references)
    return respond.respond(plan, wire, is_stream=False)


def _look_up(body: ResponseBody) -> kept.Before:
    try:
        return kept.look_up(body)
    except GatewayError as error:
        WORDS.put_into(error)
        raise


def _plan(request: ResponseRequest, before: kept.Before) -> tuple[AnswerPlan, Heading]:
    """Return what is asked of the model, and what every object of the response repeats. Blocks."""
    words = replace(WORDS, tools=request.tools.fields) if request.tools.tools else WORDS
    resolved = respond.resolve_model(words, request.model, request.effort)
    who = respond.identity("resp_")
    effort = resolved.effort or resolved.model.default_effort
    is_kept = kept.is_kept(request.body, before)
    heading = long_work.run(
        Heading, who.id, who.created, resolved.name, request, effort, is_kept=is_kept
    )
    prompt = Prompt(
        to_turn_request(request, resolved, conversation_name(request.body.names)),
        request.constraints,
        1,
        request.image_fields,
        request.instructions,
        is_recalled=bool(before.items or before.references),
        past_images=request.past_images,
        pixels=request.pixels,
    )
    return AnswerPlan((prompt,), words, resolved, request.ignored), heading


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


@blueprint.get("/v1/responses/<response_id>")
@described(documents.RETRIEVE)
def retrieve_response(response_id: str) -> Response:
    """Return a response that was kept, whole or as a stream of its events (OpenAI: get a model response)."""
    after = listing.replay_after()
    if (running := background.find(response_id)) is not None:
        return background.show(running) if after is None else background.follow(running, after)
    if after is None:
        return Response(kept.shown(kept.find(response_id)), content_type="application/json")
    stored = kept.find(response_id, listing.REPLAY_COPIES)
    return background.watch(stored, after) if stored.is_held else listing.replay(stored, after)


@blueprint.post("/v1/responses/<response_id>/cancel")
@described(documents.CANCEL)
def cancel_response(response_id: str) -> Response:
    """End a background response that still runs or waits (OpenAI: cancel a response)."""
    return background.cancel(response_id)


@blueprint.delete("/v1/responses/<response_id>")
@described(documents.DELETE)
def delete_response(response_id: str) -> dict[str, object]:
    """Remove a response that was kept, and end it if it still runs (OpenAI: delete a model response)."""
    background.forget(response_id)
    kept.remove(response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@blueprint.get("/v1/responses/<response_id>/input_items")
@described(documents.INPUT_ITEMS)
def list_input_items(response_id: str) -> Response:
    """Return the items that a response was made from, a page of them (OpenAI: list input items)."""
    options = listing.page_options()
    body = kept.given_to(response_id, partial(listing.page, options=options))
    return Response(body, content_type="application/json")
