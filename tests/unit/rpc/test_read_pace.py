"""The pace of reading, from moments at which something was read."""

from __future__ import annotations

import pytest

from app.rpc.read_pace import GATHER_S, MANY, ReadPace

CLOSE, FAR = GATHER_S, 3 * GATHER_S


@pytest.mark.parametrize(
    ("gaps", "is_close"),
    [
        ([], False),
        ([FAR], False),
        ([CLOSE], True),
        ([CLOSE, CLOSE], True),
        ([CLOSE, FAR], False),
        ([FAR, CLOSE], True),
    ],
    ids=str,
)
def test_what_follows_closely_is_left_to_gather(gaps: list[float], is_close: bool) -> None:
    pace, now = ReadPace(), 64.0
    for gap in [0.0, *gaps]:
        now += gap
        pace.note(now, MANY, is_all=True)
    assert pace.is_close is is_close


def test_nothing_gathers_before_there_is_anything() -> None:
    assert not ReadPace().is_close


def test_where_more_is_there_already_nothing_has_to_gather() -> None:
    pace = ReadPace()
    pace.note(64.0, MANY, is_all=True)
    pace.note(64.0, MANY, is_all=False)
    assert not pace.is_close


def test_for_a_few_nothing_gathers() -> None:
    pace = ReadPace()
    for _ in range(3):
        pace.note(64.0, MANY - 1, is_all=True)
    assert not pace.is_close
