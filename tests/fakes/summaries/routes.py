"""View of summaries: check, answer."""

from __future__ import annotations

from flask import Blueprint, Response

from app.answers.plan import AnswerPlan, Prompt, RequestWords
from app.backend.request import TurnRequest
from app.errors import RequestPart
from app.http import respond
from app.http.body import read_json_object
from app.http.operation import described
from tests.fakes.summaries.described import CREATE
from tests.fakes.summaries.request import parse_request
from tests.fakes.summaries.wire import SummaryWire

blueprint = Blueprint("summaries", __name__)

WORDS = RequestWords(
    {RequestPart.PROMPT: "text", RequestPart.MODEL: "by"},
    too_long="Please reduce the length of the text.",
)


@blueprint.post("/v1/summaries")
@described(CREATE)
def create_summary() -> Response:
    """Answer with the summary of one text."""
    request = parse_request(read_json_object())
    resolved = respond.resolve_model(WORDS, request.model)
    turn = TurnRequest(resolved.model.id, request.items, resolved.effort)
    prompt = Prompt(turn, request.constraints)
    plan = AnswerPlan((prompt,), WORDS, resolved, request.ignored)
    wire = SummaryWire(respond.identity("sum-").id)
    return respond.respond(plan, wire, is_stream=request.stream)
