"""Usage as a person reads it."""

from __future__ import annotations

from typing import Any

from app.cli.usage import table


def row(**more: Any) -> dict[str, Any]:
    counts = {"requests": 12, "errors": 1, "input_tokens": 1_234_567, "cached_tokens": 40}
    names = {"day": "2026-11-30", "key": "ann", "model": "gpt-5.5"}
    return {**names, **counts, "output_tokens": 20, "reasoning_tokens": 5, **more}


def test_a_table_has_its_sum_and_numbers_end_below_each_other() -> None:
    assert table([row(), row(key="bob", requests=1, errors=0)]) == [
        "DAY         KEY  MODEL    REQUESTS  ERRORS      INPUT  CACHED  OUTPUT  REASONING",
        "2026-11-30  ann  gpt-5.5        12       1  1,234,567      40      20          5",
        "2026-11-30  bob  gpt-5.5         1       0  1,234,567      40      20          5",
        "sum                             13       1  2,469,134      80      40         10",
    ]


def test_one_row_needs_no_sum_and_none_are_a_sentence() -> None:
    assert len(table([row()])) == 2
    assert table([]) == ["Nothing was asked in these days."]


def test_no_name_commands_the_terminal() -> None:
    shown = "\n".join(table([row(key="\x1b[2J", model="a\nb")]))
    assert "\x1b" not in shown
    assert shown.count("\n") == 1
