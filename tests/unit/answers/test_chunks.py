import orjson
import pytest

from app.answers.chunks import (
    Began,
    Cause,
    Chunk,
    Cost,
    Ended,
    ReasoningText,
    Restarted,
    Text,
    in_pieces,
    without_discarded,
)
from app.backend.events import Usage

TOKENS = Cost(Usage(1, 0, 1, 0, 2))


def a(text: str) -> Text:
    return Text(0, text)


def b(text: str) -> Text:
    return Text(1, text)


WHOLE: list[Chunk] = [Began(0), a("l"), a("l"), Ended(0, Cause.FINISHED), TOKENS]
CASES: list[tuple[list[Chunk], list[Chunk]]] = [
    ([], []),
    (WHOLE, WHOLE),
    ([Began(0), a("x"), Restarted(0)], [Began(0)]),
    (
        [Began(0), a("x"), Restarted(0), a("y"), Ended(0, Cause.FINISHED)],
        [Began(0), a("y"), Ended(0, Cause.FINISHED)],
    ),
    ([a("x"), Restarted(0), a("y"), Restarted(0), a("z")], [a("z")]),
    (
        [a("x"), b("u"), ReasoningText(1, "r"), Restarted(0), b("v"), a("y")],
        [b("u"), ReasoningText(1, "r"), b("v"), a("y")],
    ),
    (
        [Began(0), Began(1), b("u"), Restarted(1), a("x"), TOKENS],
        [Began(0), Began(1), a("x"), TOKENS],
    ),
]


@pytest.mark.parametrize(("said", "stands"), CASES)
def test_what_was_taken_back_does_not_stand(said: list[Chunk], stands: list[Chunk]) -> None:
    assert without_discarded(said) == stands


@pytest.mark.parametrize("character", ["a", '"', "\0", "\x85", "é", "\u2028", "\U0001f680"])
@pytest.mark.parametrize("length", [1, 2730, 2731, 200_000])
def test_pieces_are_short_also_as_json_and_add_up(character: str, length: int) -> None:
    text = character * length
    pieces = list(in_pieces(text))
    assert "".join(pieces) == text
    assert max(len(orjson.dumps(piece)) for piece in pieces) <= 16 * 1024 + 2
    assert all(pieces)


def test_an_empty_text_is_one_piece() -> None:
    assert list(in_pieces("")) == [""]
