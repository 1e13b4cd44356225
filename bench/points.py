"""Points of the plots: a result's figures in the order in which they are drawn. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Lines: TypeAlias = Mapping[str, Sequence[tuple[float, float]]]
"""A line for each side: points of a number of clients, or of a round, and a figure."""


def by_pace(cells: Mapping[str, Any]) -> dict[str, dict[int, Any]]:
    """Return the cells by pace and number of clients: their names are like `c=8` and `25 ms, c=8`."""
    found: dict[str, dict[int, Any]] = {}
    for name, cell in cells.items():
        pace, _, clients = name.rpartition("c=")
        word = pace.strip(", ").replace(" ", "-") or "unpaced"
        found.setdefault(word, {})[int(clients)] = cell
    return found


def lines(cells: Mapping[int, Any], key: str) -> Lines:
    """Return, for each side, a point for each number of clients for which it has this figure."""
    sides = dict.fromkeys(side for cell in cells.values() for side in cell["sides"])
    return {
        side: [
            (clients, cell["sides"][side][key])
            for clients, cell in sorted(cells.items())
            if key in cell["sides"].get(side, {})
        ]
        for side in sides
    }


def with_share(curve: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Return a curve with the share of the input that was cached in each round."""
    tokens = zip(curve["cached_tokens"], curve["input_tokens"], strict=True)
    return {**curve, "cached_share": [cached / max(1, given) for cached, given in tokens]}


def by_round(curves: Mapping[str, Mapping[str, Sequence[float]]], key: str) -> Lines:
    """Return, for each side, a point for each round, counted from 1."""
    return {side: list(enumerate(curve[key], 1)) for side, curve in curves.items()}
