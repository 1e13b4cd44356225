"""Background responses: begun for a client that does not wait, shown as they stand, followed, cancelled.

One that runs in this worker is found there; of one that runs elsewhere (in the other worker of a reload, in another
replica) the store says whether it still does, and how it ended.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from flask import Response

from app.answer_store.stored_answer import AnswerStore, StoredAnswer
from app.answers.plan import AnswerPlan
from app.api.responses import kept, listing
from app.api.responses.request import ResponseRequest
from app.api.responses.wire import BackgroundWire
from app.budget import Reservation
from app.errors import GatewayError, InvalidRequest, StoreFailed
from app.http import answering, respond, sse
from app.http.background import BackgroundAnswer, Cancelled
from app.http.followed_stream import FollowedStream, LogSource, StoreSource
from app.http.request_context import current_record
from app.http.request_lifetime import current_lifetime
from app.http.services import services
from app.observability.metrics import BackgroundListener

_WAIT_S = 15.0
"""Longest wait for the end of one that is cancelled: its turn is over at once, and the store may be slow."""


class KeptResponse:
    """What the store has of a response in the background: `app.http.background.Kept`."""

    def __init__(self, store: AnswerStore, begun: StoredAnswer, wire: BackgroundWire) -> None:
        self._store = store
        self._begun = begun
        self._wire = wire
        self._told = "queued"

    def renew(self, snapshot: dict[str, Any]) -> bool:
        """Say that it is worked on, and how it stands if that has changed."""
        status = snapshot["status"]
        answer = b"" if status == self._told else orjson.dumps(snapshot | {"output": []})
        begun = self._begun
        is_ours = self._store.hold(begun.owner, begun.id, begun.holder, answer)
        self._told = status
        return is_ours

    def settle(self, ended: dict[str, Any]) -> bool:
        """Store how it ended."""
        shape = self._wire.shape.dump()
        stored = kept.answered(self._begun, ended, self._wire.output.kept, shape)
        return self._store.settle(stored, self._begun.holder)


def respond_in_background(
    plan: AnswerPlan, wire: BackgroundWire, stored: StoredAnswer, request: ResponseRequest
) -> Response:
    """Begin a response and return how it stands, or a stream that follows it.

    Blocks; raises `InvalidRequest` where nothing is stored, `WorkerBusy`, `StoreFailed`.
    """
    here, lifetime = services(), current_lifetime()
    answering.note_ignored(current_record(), plan)
    if not here.answer_store.is_on:
        raise InvalidRequest(
            "Unsupported parameter: 'background' is not supported, since this gateway keeps no responses "
            "(PROXY_RESPONSE_STORE=off).",
            param="background",
            code="unsupported_parameter",
        )
    here.engine.backend.check_login()
    lifetime.on_close(here.background.reserve(stored.owner).release)
    # From here on what was taken for the request is the answer's: its body, its place among those of the key.
    on_over = lifetime.hand_over()
    begun = replace(stored, answer=orjson.dumps(wire.snapshot()), holder=secrets.token_hex(16))
    try:
        if request.stream:
            respond.take_stream()
        here.answer_store.put(begun)
    except BaseException:
        on_over()
        raise
    running = _running(plan, wire, begun)
    here.background.start(stored.owner, stored.id, running, on_over)
    current_record().is_handed_over = True
    return _followed(running, -1) if request.stream else show(running)


def _running(plan: AnswerPlan, wire: BackgroundWire, begun: StoredAnswer) -> BackgroundAnswer:
    here, record = services(), current_record()
    span = None if record.span is None else record.span.inner()
    own = replace(
        record,
        listeners=[
            BackgroundListener(here.metrics),
            here.recent,
            here.usage,
            *([span] if span else []),
        ],
        span=span,
        stream=None,
        is_background=True,
    )
    return BackgroundAnswer(
        partial(answering.begin, here, own, plan, is_patient=True),
        wire,
        KeptResponse(here.answer_store, begun, wire),
        here.background.event_log(begun.owner),
        own,
        tell_again=partial(_told_again, wire),
        tells_defects=here.options.tells_defects,
    )


def find(response_id: str) -> BackgroundAnswer | None:
    """Return a response of the caller's that this worker works on."""
    return services().background.find(kept.owner(), response_id)


def show(running: BackgroundAnswer) -> Response:
    """Return a response as it stands."""
    return Response(orjson.dumps(running.response()), content_type="application/json")


def follow(running: BackgroundAnswer, after: int) -> Response:
    """Return the stream of a response of this worker, from behind an event on. Raises `WorkerBusy`."""
    respond.take_stream()
    return _followed(running, after)


def _followed(running: BackgroundAnswer, after: int) -> Response:
    here, mine = services(), kept.owner()

    def rest(told: int) -> bytes:
        return here.off_loop.run(mine, running.tell_again, running.response(), told)

    record = current_record()
    source = LogSource(running.events)
    sign_of_life = running.wire.sign_of_life
    body = FollowedStream(source, after, here.pace.tick_s, sign_of_life, _counted(rest), record)
    return sse.followed(body, record)


def watch(stored: StoredAnswer, after: int) -> Response:
    """Return the stream of a response of another worker: what of it can be told now, and all the rest at its end."""
    here, told = services(), max(after, 1)
    store, mine = here.answer_store, stored.owner

    def rest(told: int) -> bytes:
        found = store.get(mine, stored.id)
        if found is None:  # removed
            return b""
        return here.off_loop.run(mine, listing.frames, kept.shown(found), found.shape, told)

    kind = "response.in_progress"
    event = {"type": kind, "sequence_number": told, "response": orjson.Fragment(stored.answer)}
    sign_of_life = (kind, orjson.dumps(event))
    respond.take_stream()
    record = current_record()
    body = FollowedStream(
        StoreSource(partial(_is_held, store, mine, stored.id)),
        told,
        here.pace.tick_s,
        lambda: sign_of_life,
        _counted(rest),
        record,
        head=listing.first_frames(stored.answer, after),
    )
    return sse.followed(body, record)


def _counted(rest: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return what tells the rest of a stream, counted like a body until it is read; an error where that cannot be."""
    record = current_record()
    memory = Reservation(services().bodies.memory, kept.owner())
    current_lifetime().on_close(memory.release)

    def counted(told: int) -> bytes:
        try:
            frames = rest(told)
            memory.grow(len(frames))
        except GatewayError as error:  # the response is what it is, and can be asked for again
            record.outcome, record.error_code = "failed", error.code
            return listing.error_frame(error, told)
        return frames

    return counted


def _is_held(store: AnswerStore, owner: str, response_id: str) -> bool:
    try:
        return store.is_held(owner, response_id)
    except StoreFailed:  # for the moment; logged and counted by the store
        return True


def cancel(response_id: str) -> Response:
    """End a response and return it. One that has ended stays as it is.

    Blocks; raises `AnswerNotFound`, `StoreFailed`, `InvalidRequest` for one that is none of the background.
    """
    running = find(response_id)
    if running is not None:
        running.end(Cancelled())
        running.ended.wait(_WAIT_S)
        return show(running)
    stored = kept.find(response_id)
    response = orjson.loads(kept.shown(stored))
    if not response.get("background"):
        raise InvalidRequest(
            "Cannot cancel a synchronous response: only one that was created with 'background': true can be cancelled.",
        )
    if not stored.is_held:
        return Response(orjson.dumps(response), content_type="application/json")
    # Its worker finds out when it next says that it works on it.
    ended = replace(stored, answer=orjson.dumps(response | {"status": "cancelled"}), holder="")
    if not services().answer_store.settle(ended, stored.holder):
        ended = kept.find(response_id)  # it has just ended by itself
    return Response(kept.shown(ended), content_type="application/json")


def forget(response_id: str) -> None:
    """End a response that is removed, if this worker works on it. Does not block."""
    running = find(response_id)
    if running is not None:
        services().background.forget(kept.owner(), response_id)
        running.end(Cancelled())


def _told_again(wire: BackgroundWire, response: dict[str, Any], after: int) -> bytes:
    return listing.frames(orjson.dumps(response), wire.shape.dump(), after)
