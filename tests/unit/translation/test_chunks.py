import pytest

from app.codex.events import Usage
from app.translation.chunks import Chunk, Content, Finish, Reasoning, Role, Tokens, Void, standing

TOKENS = Tokens(Usage(1, 0, 1, 0, 2))


def a(text: str) -> Content:
    return Content(0, text)


def b(text: str) -> Content:
    return Content(1, text)


CASES: list[tuple[list[Chunk], list[Chunk]]] = [
    ([], []),
    ([Role(0), a("l"), a("l"), Finish(0, "stop"), TOKENS],) * 2,
    ([Role(0), a("x"), Void(0)], [Role(0)]),
    ([Role(0), a("x"), Void(0), a("y"), Finish(0, "stop")], [Role(0), a("y"), Finish(0, "stop")]),
    ([a("x"), Void(0), a("y"), Void(0), a("z")], [a("z")]),
    (
        [a("x"), b("u"), Reasoning(1, "r"), Void(0), b("v"), a("y")],
        [b("u"), Reasoning(1, "r"), b("v"), a("y")],
    ),
    ([Role(0), Role(1), b("u"), Void(1), a("x"), TOKENS], [Role(0), Role(1), a("x"), TOKENS]),
]


@pytest.mark.parametrize(("said", "stands"), CASES)
def test_what_was_taken_back_does_not_stand(said: list[Chunk], stands: list[Chunk]) -> None:
    assert standing(said) == stands
