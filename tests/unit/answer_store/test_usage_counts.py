"""Counts of usage: what is added up, in how many rows, and which rows are asked for."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answer_store.usage_counts import (
    OTHER,
    Counts,
    RowName,
    Tally,
    UsageQuery,
    day_of,
    first_day,
    in_order,
)

DAY_S = 86_400
NOON = 1_796_040_000.0  # 2026-11-30 12:00 UTC

NAMES = st.builds(
    RowName,
    st.sampled_from(["2026-11-29", "2026-11-30"]),
    st.sampled_from(["default", "ann", "bob"]),
    st.sampled_from(["m1", "m2"]),
)
COUNTS = st.builds(Counts, *[st.integers(0, 1 << 40)] * len(Counts._fields))


def row(day: str = "2026-11-30", key: str = "ann", model: str = "m1") -> RowName:
    return RowName(day, key, model)


@pytest.mark.parametrize(
    ("seconds", "days", "first", "last"),
    [
        (NOON, 1, "2026-11-30", "2026-11-30"),
        (NOON, 7, "2026-11-24", "2026-11-30"),
        (NOON, 31, "2026-10-31", "2026-11-30"),
        (NOON + 32 * DAY_S, 3, "2026-12-30", "2027-01-01"),
        (NOON + DAY_S / 2 - 1, 1, "2026-11-30", "2026-11-30"),
        (NOON + DAY_S / 2, 1, "2026-12-01", "2026-12-01"),
    ],
)
def test_days_are_those_of_utc(seconds: float, days: int, first: str, last: str) -> None:
    assert (first_day(seconds, days), day_of(seconds)) == (first, last)
    asked = list(UsageQuery(first, last).days())
    assert (asked[0], asked[-1], len(asked)) == (last, first, days)
    assert asked == sorted(asked, reverse=True)


@given(st.lists(st.tuples(NAMES, COUNTS)), st.integers(0, 12))
def test_nothing_is_lost_and_no_day_has_more_rows_than_it_may(
    added: list[tuple[RowName, Counts]], most: int
) -> None:
    tally = Tally(most=most)
    for name, counts in added:
        tally.add(name, counts)
    for place in range(len(Counts._fields)):
        assert sum(n[place] for n in tally.rows.values()) == sum(n[place] for _, n in added)
    for day in ("2026-11-29", "2026-11-30"):
        own = [name for name in tally.rows if name.day == day and name.key != OTHER]
        assert len(own) <= most
    others = [counts.requests for name, counts in tally.rows.items() if name.key == OTHER]
    assert tally.displaced == sum(others)


def test_what_finds_no_row_is_others_of_its_day() -> None:
    tally = Tally([row(key="known")], most=2)
    for key in ("ann", "known", "bob", "cid", "ann"):
        tally.add(row(key=key), Counts(requests=1, input_tokens=5))
    tally.add(row("2026-12-01", "bob"), Counts(requests=1))
    assert tally.rows == {
        row(): Counts(2, 0, 10),
        row(key="known"): Counts(1, 0, 5),
        row(key=OTHER, model=OTHER): Counts(2, 0, 10),
        row("2026-12-01", "bob"): Counts(1),
    }
    assert tally.displaced == 2


def test_days_that_are_forgotten_leave_their_places() -> None:
    tally = Tally(most=1)
    tally.add(row("2026-11-28"), Counts(1))
    tally.add(row("2026-11-29"), Counts(1))
    tally.forget("2026-11-29")
    assert list(tally.rows) == [row("2026-11-29")]
    tally.add(row("2026-11-28", "bob"), Counts(1))
    assert tally.displaced == 0


@pytest.mark.parametrize(
    ("key", "model", "found"),
    [
        (None, None, 8),
        ("ann", None, 4),
        (None, "m2", 4),
        ("bob", "m1", 2),
        ("nobody", None, 0),
        ("", None, 0),
    ],
)
def test_rows_that_are_asked_for_come_with_the_newest_day_first(
    key: str | None, model: str | None, found: int
) -> None:
    tally = Tally()
    days = ("2026-11-27", "2026-11-28", "2026-11-29", "2026-11-30")
    for name in product(days, ("bob", "ann"), ("m2", "m1")):
        tally.add(RowName(*name), Counts(1))
    rows = list(tally.found(UsageQuery("2026-11-28", "2026-11-29", key, model)))
    assert len(rows) == found
    assert rows == list(in_order(dict.fromkeys(reversed(rows), Counts())))
    if found == 8:
        assert rows[:3] == [
            row("2026-11-29"),
            row("2026-11-29", model="m2"),
            row("2026-11-29", "bob"),
        ]
