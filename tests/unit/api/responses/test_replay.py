"""Replay of a response in the background: every event under its number, as it went out the first time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.answers.chunks import Chunk, Cost, Ended, Rerouted
from app.api.responses.replay import events
from app.api.responses.shape import Shape
from app.api.responses.wire import BackgroundWire
from app.errors import UpstreamError
from tests.unit.api.responses.answers import (
    EVENTS,
    SUMMARY,
    Json,
    any_answer,
    heading,
    request,
    strict,
    unseen,
)

SEALED = {"include": ["reasoning.encrypted_content"]}


def wire(**members: Any) -> BackgroundWire:
    members |= {"background": True}
    return BackgroundWire(heading(**members), request(**members))


def parsed(payloads: Iterable[tuple[str | None, bytes]]) -> list[Json]:
    return [json.loads(data) for _, data in payloads]


def told(made: BackgroundWire, chunks: list[Chunk]) -> list[Json]:
    return parsed(made.payloads(chunks, lambda: SUMMARY))


def told_again(made: BackgroundWire, response: Json) -> list[Json]:
    shape = Shape.parse(made.shape.dump())
    found = [
        {"type": event["type"], "sequence_number": number, **event}
        for number, event in enumerate(events(response, shape))
    ]
    parts: list[Json] = json.loads(json.dumps(found))
    return parts


def without_model(events: list[Json]) -> list[Json]:
    """Another model than the one that was asked for is known only at the end."""
    return [
        {**event, "response": {**event["response"], "model": ""}} if "response" in event else event
        for event in events
    ]


@settings(max_examples=150, deadline=None)
@given(any_answer, unseen, st.sampled_from([{}, SEALED]))
def test_a_whole_one(chunks: list[Chunk], before: list[Chunk], options: Json) -> None:
    made = wire(**options)
    live = [*parsed(made.queued()), *told(made, [chunks[0], *before, *chunks[1:]])]
    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    for event in live:
        strict(EVENTS, event)
    again = told_again(made, live[-1]["response"])
    assert without_model(again) == without_model(live)
    assert made.last == live[-1]["sequence_number"]


@settings(max_examples=150, deadline=None)
@given(any_answer, st.integers(0, 40), st.booleans())
def test_one_that_is_broken_off(chunks: list[Chunk], place: int, is_cancelled: bool) -> None:
    said = [one for one in chunks if not isinstance(one, Ended | Cost | Rerouted)]
    made = wire()
    live = [*parsed(made.queued()), *told(made, [*said[:place]])]
    ending = made.cancelled() if is_cancelled else made.error(UpstreamError("gone"))
    live += parsed(ending)
    final = live[-1]["response"]
    assert final["status"] == ("cancelled" if is_cancelled else "failed")
    assert live[-1]["type"] == ("response.incomplete" if is_cancelled else "response.failed")
    for event in live:
        strict(EVENTS, event)
    begun = [event for event in live if event["type"] == "response.output_item.added"]
    done = [event for event in live if event["type"] == "response.output_item.done"]
    assert len(begun) == len(done) == len(final["output"])
    assert told_again(made, final) == live


def test_signs_of_life_have_no_number_of_their_own() -> None:
    made = wire()
    before = parsed(made.queued())
    sign = parsed([made.sign_of_life()])[0]
    assert (sign["type"], sign["sequence_number"]) == ("response.in_progress", 1)
    assert sign["response"]["status"] == "queued"
    assert before[-1]["sequence_number"] == 1
    assert parsed(made.cancelled())[0]["sequence_number"] == 2


def test_what_has_ended_is_kept_before_it_is_told() -> None:
    made = wire()
    kept: list[Json] = []
    made.give_up = kept.append
    ending = made.error(error := UpstreamError("gone"))
    assert kept == []
    (event,) = parsed(ending)
    assert kept[0]["codex_metadata"] == error.to_envelope()
    assert event["response"] == kept[0]


def test_a_shape_that_was_not_noted_is_none() -> None:
    assert Shape.parse(b"") is None
