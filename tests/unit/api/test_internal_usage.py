"""Rows of usage as JSON and as CSV, which a spreadsheet must not take for a formula."""

from __future__ import annotations

import csv
import io
import json

import pytest

from app.answer_store.usage_counts import MOST_ROWS_READ, Counts, RowName
from app.api.internal.usage import as_csv, as_json

DAY = "2026-11-30"
ROWS = {
    RowName(DAY, "ann", "gpt-5.5"): Counts(3, 1, 100, 40, 20, 5),
    RowName(DAY, "default", "gpt-5.5-mini"): Counts(1),
}


def test_a_row_has_its_names_and_counts() -> None:
    first, second = json.loads(as_json({"days": 7, "kept": True}, ROWS))["rows"]
    assert first == {
        "day": DAY,
        "key": "ann",
        "model": "gpt-5.5",
        "requests": 3,
        "errors": 1,
        "input_tokens": 100,
        "cached_tokens": 40,
        "output_tokens": 20,
        "reasoning_tokens": 5,
    }
    assert (second["key"], second["requests"], second["input_tokens"]) == ("default", 1, 0)


def test_csv_says_the_same() -> None:
    table = list(csv.DictReader(io.StringIO(as_csv(ROWS))))
    shown = json.loads(as_json({}, ROWS))["rows"]
    assert table == [{name: str(value) for name, value in row.items()} for row in shown]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("ann", "ann"),
        ('a,"b"', 'a,"b"'),
        ("a=b", "a=b"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"),
        ("\t=1", "\N{REPLACEMENT CHARACTER}=1"),
        ("a\r\n=1", "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}=1"),
        ("\x1b[2J", "\N{REPLACEMENT CHARACTER}[2J"),
    ],
)
def test_no_name_is_a_formula_or_a_line(name: str, cell: str) -> None:
    text = as_csv({RowName(DAY, name, name): Counts(1)})
    assert list(csv.reader(io.StringIO(text, newline="")))[1][1:3] == [cell, cell]
    assert text.count("\r\n") == 2


def test_no_more_rows_are_shown_than_are_read() -> None:
    rows = {RowName(DAY, "ann", str(number)): Counts(1) for number in range(MOST_ROWS_READ + 1)}
    assert len(json.loads(as_json({}, rows))["rows"]) == MOST_ROWS_READ
    assert as_csv(rows).count("\r\n") == MOST_ROWS_READ + 1
