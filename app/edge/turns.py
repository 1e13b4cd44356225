"""From what an endpoint wants to ask to the answer: model names, turns, response. Every endpoint goes through here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import Response, current_app

from app.codex.choices import Choices
from app.codex.client import Codex
from app.codex.methods import TurnRequest
from app.codex.reasoning import ReasoningStore
from app.codex.turn import Pace, Turn
from app.edge import answers, frames
from app.edge.context import current_record
from app.edge.images import ImageFetcher
from app.observability.watch import RequestWatch
from app.translation.choice import Choice
from app.translation.models import Names, Resolved, resolve
from app.translation.parameters import developer_item
from app.translation.rules import Rules


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
    rules: Sequence[Rules],
    wire: answers.Wire,
    resolved: Resolved,
    *,
    ignored: tuple[str, ...],
    is_stream: bool,
) -> Response:
    """Start a turn for each request and answer with a choice from each: whole, or as a stream. Blocks.

    Raises `GatewayError` before the response is committed.
    """
    codex, record = _codex(), current_record()
    record.stream, record.ignored_parameters = is_stream, ignored
    store: ReasoningStore = current_app.extensions["reasoning"]
    owner = record.key_name or ""
    requests = _completed(requests, store, owner)
    pace: Pace = current_app.extensions["pace"]
    extensions = current_app.extensions
    watch = RequestWatch(record, extensions["metrics"], extensions["traces"])

    def replace_turn(index: int, turn: Turn, instruction: str | None) -> Turn:
        asked = requests[index]
        if instruction is not None:
            asked = asked.with_item(developer_item(instruction))
        return codex.replace_turn(turn, asked, watch)

    turns = Choices(codex.start_turns(*requests, watch=watch), pace, replace_turn)
    choices = [Choice(index, rule) for index, rule in enumerate(rules)]

    def keep(finished: list[Choice]) -> None:
        for choice in finished:
            if choice.call_ids:
                store.keep(owner, choice.call_ids[0], choice.reasoning_items)

    metadata = _metadata(resolved, ignored, codex)
    answer = answers.Answer(turns, choices, wire, metadata, list(map(id, requests)), keep)
    return frames.stream(answer, pace.tick_s) if is_stream else answers.whole(answer)


def _metadata(resolved: Resolved, ignored: tuple[str, ...], codex: Codex) -> dict[str, Any]:
    """Return what is known of `codex_metadata` before the first event."""
    return {
        "model": resolved.model.id,
        "effort": resolved.effort or resolved.model.default_effort,
        "ignored_parameters": list(ignored),
        "upstream": codex.upstream.value,
    }


def _completed(
    requests: Sequence[TurnRequest], store: ReasoningStore, owner: str
) -> list[TurnRequest]:
    """Return the requests with remote images fetched and kept reasoning put back; alike ones share the work."""
    images: ImageFetcher = current_app.extensions["images"]
    distinct = {id(asked): asked for asked in requests}
    ready = {
        key: replace(asked, items=images.inline(store.weave(owner, asked.items)))
        for key, asked in distinct.items()
    }
    return [ready[id(asked)] for asked in requests]


def _codex() -> Codex:
    codex: Codex = current_app.extensions["codex"]
    return codex


def _names() -> Names:
    names: Names = current_app.extensions["model_names"]
    return names
