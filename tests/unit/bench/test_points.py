"""Points of the plots, from small results."""

from __future__ import annotations

from typing import Any

from bench.points import by_pace, by_round, lines, with_share


def cell(**first: float) -> dict[str, Any]:
    return {"sides": {side: {"first_p50": value} for side, value in first.items()}}


def test_cells_are_sorted_by_their_pace_and_their_number_of_clients() -> None:
    cells = {"c=1": 1, "c=8": 2, "25 ms, c=128": 3}
    assert by_pace(cells) == {"unpaced": {1: 1, 8: 2}, "25-ms": {128: 3}}


def test_a_side_has_a_point_wherever_it_has_a_figure() -> None:
    found = lines({8: cell(gateway=3.0), 1: cell(gateway=2.0, exec=9.0)}, "first_p50")
    assert found == {"gateway": [(1, 2.0), (8, 3.0)], "exec": [(1, 9.0)]}
    assert lines({1: cell(gateway=2.0)}, "req_s") == {"gateway": []}


def test_a_curve_gets_its_cached_share() -> None:
    curve = with_share({"cached_tokens": [0, 50], "input_tokens": [0, 100]})
    assert by_round({"kept": curve}, "cached_share") == {"kept": [(1, 0.0), (2, 0.5)]}
