"""Pieces of text that came together, on every wire: the messages of a stream are those of the pieces one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import given

from app.answers.chunks import Chunk, Rerouted, Text, TextPieces
from app.api.chat_completions.wire import ChatWire
from app.api.choices_wire import Envelope
from app.api.completions.wire import CompletionWire
from app.api.responses.wire import BackgroundWire
from tests.fakes.summaries.wire import SummaryWire
from tests.unit.api.responses.answers import SUMMARY, any_answer, heading, request
from tests.unit.api.responses.answers import wire as responses_wire

Wire: TypeAlias = Any

ENVELOPE = Envelope("id", 1_700_000_000, "m", "fp", include_usage=True)


def background_wire() -> BackgroundWire:
    return BackgroundWire(heading(), request())


WIRES: dict[str, Callable[[], Wire]] = {
    "chat": lambda: ChatWire(ENVELOPE),
    "completions": lambda: CompletionWire(ENVELOPE, ("echo",)),
    "responses": responses_wire,
    "background": background_wire,
    "an endpoint of its own": lambda: SummaryWire("id"),
}


def together(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Put texts that follow each other into one chunk."""
    found: list[Chunk] = []
    for chunk in chunks:
        last = found[-1] if found else None
        if isinstance(chunk, Text) and isinstance(last, TextPieces):
            texts = [*last.texts, chunk.text]
            found[-1] = TextPieces(chunk.index, "".join(texts), texts)
        elif isinstance(chunk, Text):
            found.append(TextPieces(chunk.index, chunk.text, [chunk.text]))
        else:
            found.append(chunk)
    return found


@pytest.mark.parametrize("name", WIRES)
@given(chunks=any_answer)
def test_a_stream_has_a_message_for_each_piece(name: str, chunks: list[Chunk]) -> None:
    made, expected = WIRES[name](), WIRES[name]()
    payloads = [*made.payloads(together(chunks), lambda: SUMMARY)]
    assert payloads == [*expected.payloads(chunks, lambda: SUMMARY)]


@pytest.mark.parametrize("name", WIRES)
@given(chunks=any_answer)
def test_a_whole_answer_is_the_same(name: str, chunks: list[Chunk]) -> None:
    whole = WIRES[name]().whole(together(chunks), SUMMARY)
    assert whole == WIRES[name]().whole(chunks, SUMMARY)


@given(chunks=any_answer)
def test_a_stream_can_be_told_again_in_its_pieces(chunks: list[Chunk]) -> None:
    made, expected = background_wire(), background_wire()
    for wire, told in ((made, together(chunks)), (expected, chunks)):
        assert [*wire.payloads(told, lambda: SUMMARY)]
    assert made.shape.dump() == expected.shape.dump()


def test_another_model_is_named_from_its_place_on() -> None:
    texts = ["a", "b"]
    chunks = [TextPieces(0, "ab", texts), Rerouted(0, "n"), TextPieces(0, "ab", texts)]
    payloads = WIRES["chat"]().payloads(chunks, lambda: SUMMARY)
    assert [b'"model":"n"' in data for _, data in payloads] == [False, False, True, True]
