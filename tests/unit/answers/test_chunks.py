import pytest

from app.answers.chunks import (
    Chunk,
    Content,
    Finish,
    Reasoning,
    Restarted,
    Role,
    Tokens,
    without_discarded,
)
from app.backend.events import Usage

TOKENS = Tokens(Usage(1, 0, 1, 0, 2))


def a(text: str) -> Content:
    return Content(0, text)


def b(text: str) -> Content:
    return Content(1, text)


CASES: list[tuple[list[Chunk], list[Chunk]]] = [
    ([], []),
    ([Role(0), a("l"), a("l"), Finish(0, "stop"), TOKENS],) * 2,
    ([Role(0), a("x"), Restarted(0)], [Role(0)]),
    (
        [Role(0), a("x"), Restarted(0), a("y"), Finish(0, "stop")],
        [Role(0), a("y"), Finish(0, "stop")],
    ),
    ([a("x"), Restarted(0), a("y"), Restarted(0), a("z")], [a("z")]),
    (
        [a("x"), b("u"), Reasoning(1, "r"), Restarted(0), b("v"), a("y")],
        [b("u"), Reasoning(1, "r"), b("v"), a("y")],
    ),
    ([Role(0), Role(1), b("u"), Restarted(1), a("x"), TOKENS], [Role(0), Role(1), a("x"), TOKENS]),
]


@pytest.mark.parametrize(("said", "stands"), CASES)
def test_what_was_taken_back_does_not_stand(said: list[Chunk], stands: list[Chunk]) -> None:
    assert without_discarded(said) == stands
