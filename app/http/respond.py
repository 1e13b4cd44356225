"""Responses from plans: every endpoint that asks a model something goes through here.

An endpoint hands over what it wants answered (`AnswerPlan`) and how it is rendered (`Wire`); slots, a stream's place,
the turns and the transport are chosen here.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response

from app.answers.answer import Answer
from app.answers.model_names import Resolved, resolve
from app.answers.plan import AnswerPlan, RequestWords
from app.errors import WorkerBusy
from app.http import answering, json_response, sse
from app.http.frames import frame
from app.http.request_context import current_record
from app.http.request_lifetime import current_lifetime
from app.http.services import services
from app.http.websocket_session import current_session
from app.http.wire import Wire


@dataclass(frozen=True, slots=True)
class Identity:
    """What every object of one answer carries. `created` is Unix time in seconds."""

    id: str
    created: int
    system_fingerprint: str


def identity(prefix: str) -> Identity:
    """Return a fresh one; `prefix` is the endpoint's, with what parts it from the rest (`chatcmpl-`)."""
    fingerprint = services().options.system_fingerprint
    return Identity(f"{prefix}{secrets.token_urlsafe(22)}", int(time.time()), fingerprint)


def has_default_model() -> bool:
    """Return True if a request may leave its model out."""
    return bool(services().model_names.default)


def resolve_model(words: RequestWords, name: str | None, effort: str | None = None) -> Resolved:
    """Return what the request's model name and effort stand for, and note it in the record, with who is asked.

    Blocks while the backend starts. Raises `ModelNotFound`, `InvalidRequest`, `WorkerUnavailable`.
    """
    record, here = current_record(), services()
    record.backend = here.engine.backend.kind
    models = here.engine.models()
    resolved = resolve(models, here.model_names, words.fields, name, effort)
    record.model, record.known_models = resolved.model.id, models
    return resolved


def respond(
    plan: AnswerPlan,
    wire: Wire,
    *,
    is_stream: bool,
    before_sent: Callable[[dict[str, Any]], None] | None = None,
) -> Response:
    """Answer a plan, whole or as a stream. Blocks; raises `GatewayError` before the response is committed.

    `before_sent` is called with the object of a whole answer; it may block, and change it.
    """
    record = current_record()
    record.stream = is_stream
    answering.note_ignored(record, plan)
    answer = _begin(plan, is_stream=is_stream)
    record.generation = answer.generation
    if is_stream:
        session, tick_s = current_session(), services().pace.tick_s
        return sse.respond(answer, wire, tick_s, frame if session is None else session.frame)
    return json_response.respond(answer, wire, before_sent)


def _begin(plan: AnswerPlan, *, is_stream: bool) -> Answer:
    """Wait for slots, and a place among the open streams; begin the turns. Blocks."""
    here, record = services(), current_record()
    if not is_stream:
        return answering.begin(here, record, plan, is_whole=True)
    try:
        # A stream that waits for a slot has no place yet.
        here.open_streams.check(record.key_name or "")
    except WorkerBusy:
        record.full_queue = "streams"
        raise
    return answering.begin(here, record, plan, take_place=take_stream)


def take_stream() -> None:
    """Take a place among the open streams until the request is over. Raises `WorkerBusy`."""
    here, record = services(), current_record()
    try:
        place = here.open_streams.reserve(record.key_name or "")
    except WorkerBusy:
        record.full_queue = "streams"
        raise
    current_lifetime().on_close(place.release)
