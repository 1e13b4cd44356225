"""Requests for turns: where items of ours stand in a conversation."""

from __future__ import annotations

import pytest

from app.backend.request import Item, TurnRequest, developer_item

OURS = developer_item("ours")
SYSTEM, MORE = developer_item("Be brief."), developer_item("Be kind.")
USER: Item = {"type": "message", "role": "user", "content": []}
CALL: Item = {"type": "function_call", "call_id": "c"}


@pytest.mark.parametrize(
    ("items", "place"),
    [
        ((), 0),
        ((USER,), 0),
        ((CALL, USER), 0),
        ((SYSTEM,), 1),
        ((SYSTEM, MORE, USER), 2),
        ((SYSTEM, USER, CALL, MORE), 1),
    ],
)
def test_instructions_stand_behind_the_developers_beginning(
    items: tuple[Item, ...], place: int
) -> None:
    request = TurnRequest("gpt", items)
    opened = request.opened_with([OURS])
    assert opened.items == (*items[:place], OURS, *items[place:])
    assert not opened.is_final
    assert request.opened_with(()) == request


def test_another_round_has_them_in_the_same_place() -> None:
    first = TurnRequest("gpt", (SYSTEM, USER)).opened_with([OURS, OURS])
    second = TurnRequest("gpt", (SYSTEM, USER, CALL, MORE)).opened_with([OURS, OURS])
    assert second.items[: len(first.items)] == first.items


def test_nothing_follows_what_was_corrected() -> None:
    request = TurnRequest("gpt", (USER,)).corrected(OURS)
    assert request.items == (USER, OURS)
    assert request.is_final
