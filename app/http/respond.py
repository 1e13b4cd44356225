"""From what an endpoint wants to ask to the answer: model names, turns, response. Every endpoint goes through here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flask import Response, current_app

from app.answers import answer
from app.answers.choice import Choice
from app.answers.constraints import AnswerConstraints
from app.answers.model_names import Names, Resolved, resolve
from app.answers.parameters import developer_item
from app.answers.reasoning_cache import ReasoningCache
from app.answers.turn_set import TurnSet
from app.backend.admission import SlotRequest
from app.backend.request import TurnRequest
from app.backends.app_server.backend import AppServerBackend
from app.backends.app_server.turn import Pace, Turn
from app.http import sse
from app.http.open_streams import OpenStreams
from app.http.request_context import current_record
from app.http.request_lifetime import current_lifetime
from app.images.fetcher import ImageFetcher
from app.observability.turn_observers import HttpRequestObserver


@dataclass(frozen=True, slots=True)
class Identity:
    """What every object of one answer carries. `created` is Unix time in seconds."""

    id: str
    created: int
    system_fingerprint: str


def identity(prefix: str) -> Identity:
    """Return a fresh one; `prefix` is the endpoint's (`chatcmpl`)."""
    fingerprint: str = current_app.config["SYSTEM_FINGERPRINT"]
    return Identity(f"{prefix}-{secrets.token_urlsafe(22)}", int(time.time()), fingerprint)


def has_default_model() -> bool:
    """True if a request may leave its model out."""
    return bool(_names().default)


def resolve_model(name: str | None, effort: str | None = None) -> Resolved:
    """Return what the request's model name and effort stand for, and note it in the record.

    Blocks while the child is still shaking hands. Raises `ModelNotFound`, `InvalidRequest`, `WorkerUnavailable`.
    """
    resolved = resolve(_codex().models(), _names(), name, effort)
    current_record().model = resolved.model.id
    return resolved


def respond(
    requests: Sequence[TurnRequest],
    rules: Sequence[AnswerConstraints],
    wire: answer.Wire,
    resolved: Resolved,
    *,
    ignored: tuple[str, ...],
    is_stream: bool,
) -> Response:
    """Start a turn for each request and answer with a choice from each: whole, or as a stream. Blocks.

    Raises `GatewayError` before the response is committed.
    """
    record = current_record()
    record.stream, record.ignored_parameters = is_stream, ignored
    store: ReasoningCache = current_app.extensions["reasoning"]
    owner = record.key_name or ""
    thinker = f"{owner} {_codex().login.mark}"  # reasoning is encrypted for the account
    on_admitted = _stream_place() if is_stream else _nothing_more
    requests = _completed(requests, store, owner, thinker)
    turns = _start(requests, owner, on_admitted)
    choices = [Choice(index, rule) for index, rule in enumerate(rules)]

    def keep(finished: list[Choice]) -> None:
        for choice in finished:
            if choice.call_ids:
                store.keep(thinker, choice.call_ids[0], choice.reasoning_items)

    metadata = _metadata(resolved, ignored, _codex())
    running = answer.Answer(turns, choices, wire, metadata, list(map(id, requests)), keep)
    return sse.stream(running, _pace().tick_s) if is_stream else answer.whole(running)


def _start(requests: Sequence[TurnRequest], owner: str, on_admitted: Callable[[], None]) -> TurnSet:
    """Start the turns, and say how one is replaced. No turn is waited for longer than the request may take. Blocks."""
    codex, record, pace = _codex(), current_record(), _pace()
    extensions = current_app.extensions
    watch = HttpRequestObserver(record, extensions["metrics"], extensions["traces"])

    def replace_turn(index: int, turn: Turn, instruction: str | None) -> Turn:
        asked = requests[index]
        if instruction is not None:
            asked = asked.with_item(developer_item(instruction))
        left_s = turns.started + pace.total_s - time.monotonic()
        return codex.replace_turn(turn, asked, watch, SlotRequest(owner, left_s))

    left_s = record.started + pace.total_s - time.monotonic()
    claim = SlotRequest(owner, left_s, on_admitted)
    turns = TurnSet(codex.start_turns(*requests, watch=watch, claim=claim), pace, replace_turn)
    return turns


def _nothing_more() -> None:
    """What an answer that is no stream needs beside its slots."""


def _stream_place() -> Callable[[], None]:
    """Return what takes a place among the open streams until the request is over. Raises `WorkerBusy` if there is none.

    A stream that waits for a turn is not open yet: otherwise one key's requests could fill all places by waiting.
    """
    streams: OpenStreams = current_app.extensions["open_streams"]
    streams.check(current_record())
    return partial(streams.take, current_record(), current_lifetime())


def _metadata(
    resolved: Resolved, ignored: tuple[str, ...], codex: AppServerBackend
) -> dict[str, Any]:
    """Return what is known of `codex_metadata` before the first event."""
    return {
        "model": resolved.model.id,
        "effort": resolved.effort or resolved.model.default_effort,
        "ignored_parameters": list(ignored),
        "upstream": codex.upstream.value,
    }


def _completed(
    requests: Sequence[TurnRequest], store: ReasoningCache, owner: str, thinker: str
) -> list[TurnRequest]:
    """Return the requests with remote images fetched and kept reasoning put back; alike ones share the work."""
    images: ImageFetcher = current_app.extensions["images"]
    distinct = {id(asked): asked for asked in requests}
    ready = {
        key: replace(asked, items=images.inline(store.weave(thinker, asked.items), owner))
        for key, asked in distinct.items()
    }
    return [ready[id(asked)] for asked in requests]


def _codex() -> AppServerBackend:
    codex: AppServerBackend = current_app.extensions["codex"]
    return codex


def _pace() -> Pace:
    pace: Pace = current_app.extensions["pace"]
    return pace


def _names() -> Names:
    names: Names = current_app.extensions["model_names"]
    return names
