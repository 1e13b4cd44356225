"""A history is given to the child in pieces: all of it, in order, none of them more than it reads in a moment."""

from typing import Any

import pytest

from app.backends.app_server.history import (
    HELD_BYTES,
    PIECE_BYTES,
    PIECE_ENTRIES,
    Load,
    history_budget,
    in_pieces,
)
from app.errors import WorkerBusy

IMAGE = {"type": "input_image", "image_url": "data:,"}


def item(text: str = "a", *more: dict[str, Any]) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}, *more]
    return {"type": "message", "role": "user", "content": content}


LARGE, HALF = item("x" * 2 * PIECE_BYTES), item("x" * (PIECE_BYTES // 2))


@pytest.mark.parametrize(
    ("items", "counts"),
    [
        ([], []),
        ([item()], [1]),
        ([item()] * (PIECE_ENTRIES // 2 + 1), [PIECE_ENTRIES // 2, 1]),  # a part is an entry, too
        ([HALF] * 3, [1, 1, 1]),
        ([item(), LARGE, item()], [1, 1, 1]),
        ([item(), item(), item("a", IMAGE), item("b", IMAGE), item()], [2, 1, 1, 1]),
    ],
)
def test_pieces_are_bounded_whole_and_in_order(items: list[Any], counts: list[int]) -> None:
    pieces = list(in_pieces(items))
    assert [len(piece.items) for piece in pieces] == counts
    assert [one for piece in pieces for one in piece.items] == items


@pytest.mark.parametrize(
    ("items", "is_heavy"),
    [([item()] * 3, False), ([HALF], True), ([item()] * 100, True), ([item("a", IMAGE)], True)],
)
def test_a_piece_is_heavy_by_bytes_by_number_or_by_images(items: list[Any], is_heavy: bool) -> None:
    (piece,) = in_pieces(items)
    assert piece.is_heavy is is_heavy


CALL = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "1"}


@pytest.mark.parametrize(
    ("items", "offered", "is_plain"),
    [
        ([item(), CALL, RESULT], 0, True),
        ([], 0, False),
        ([item("a", IMAGE)], 0, False),
        ([HALF], 0, False),
        ([HALF] * 3, 0, False),
        ([item()], 1 << 20, False),
        ([item(), {"type": "reasoning", "summary": []}], 0, False),
    ],
)
def test_what_may_be_sent_with_the_question_in_one_write(
    items: list[Any], offered: int, is_plain: bool
) -> None:
    assert Load(tuple(in_pieces(items)), offered).is_plain is is_plain


@pytest.mark.parametrize(
    ("items", "offered", "is_suspect"),
    [
        ([item()], 0, False),
        ([HALF] * 7, 0, False),
        ([HALF] * 9, 0, True),
        ([item()], 1 << 20, True),
    ],
)
def test_a_large_request_is_suspect(items: list[Any], offered: int, is_suspect: bool) -> None:
    assert Load(tuple(in_pieces(items)), offered).is_suspect is is_suspect


def test_what_a_key_may_have_in_work_is_bounded() -> None:
    budget = history_budget()
    load = Load(tuple(in_pieces([LARGE] * 20)), 0)
    share = HELD_BYTES * 3 // 4
    assert load.held_bytes < share
    held = [budget.reserve("a", load.held_bytes) for _ in range(share // load.held_bytes)]
    with pytest.raises(WorkerBusy) as refused:
        budget.reserve("a", load.held_bytes)
    assert (refused.value.code, refused.value.retryable) == ("PROMPTS_FULL", True)
    budget.reserve("b", load.held_bytes)
    for one in held[:2]:
        one.release()
    budget.reserve("a", load.held_bytes)
