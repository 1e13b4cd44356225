"""Aims of the benchmark: figures that have a bound, and the side that each is compared with.

A missed aim is printed and is no fault of the run: machines differ, and a busy one proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Mapping[str, float]]
"""By side and column, as `Series.figures` and `LoopSeries.figures` have them."""

_GATEWAY = "gateway"
_MANY_CLIENTS = 32


@dataclass(frozen=True, slots=True)
class Question:
    """What a cell of single questions asks: so many clients, streamed or whole answers, paced or as fast as it goes."""

    clients: int
    streamed: bool
    paced: bool


@dataclass(frozen=True, slots=True)
class Aim:
    """One figure and its bound: the most that it may be, or with `is_least` the least."""

    name: str
    value: float
    bound: float
    is_least: bool = False

    def told(self) -> dict[str, Any]:
        """Return it as the result's JSON has it."""
        met = self.value >= self.bound if self.is_least else self.value <= self.bound
        kind = "least" if self.is_least else "most"
        return {"name": self.name, "value": self.value, kind: self.bound, "met": met}


def of_questions(figures: Figures, question: Question) -> list[dict[str, Any]]:
    """Return the aims of a cell of single questions, of those sides that took part."""
    ours = figures.get(_GATEWAY)
    return [aim.told() for aim in _of_questions(ours, figures, question)] if ours else []


def _of_questions(ours: Mapping[str, float], figures: Figures, question: Question) -> Iterator[Aim]:
    if warm := figures.get("warm"):
        yield from _over_warm(ours, warm, question)
    if (control := figures.get("control")) and question.clients == _MANY_CLIENTS:
        bound = 0.75 if question.streamed else 0.6
        yield from _ratio("CPU against the control", ours["cpu_self"], control["cpu_self"], bound)
    if question.paced:
        return
    if (process := figures.get("plain-exec")) and question.clients == 1:
        times = process["total_p50"], ours["total_p50"]
        yield from _ratio("plain codex exec's time against ours", *times, 15, is_least=True)
    if (naive := figures.get("naive")) and question.clients == _MANY_CLIENTS:
        rates = ours["req_s"], naive["req_s"]
        yield from _ratio("answers a second against the naive client", *rates, 3, is_least=True)
    if chatmock := figures.get("chatmock"):
        yield from _ratio("own CPU against ChatMock's", ours["cpu_self"], chatmock["cpu_self"], 1)


def _over_warm(
    ours: Mapping[str, float], warm: Mapping[str, float], question: Question
) -> Iterator[Aim]:
    first = ours["first_p50"] - warm["first_p50"]
    if question.paced:
        yield Aim("first token over the warm client's, ms", first, 10)
    elif question.clients == 1:
        total = ours["total_p50"] - warm["total_p50"]
        if question.streamed:
            yield Aim("first token over the warm client's, ms", first, 2)
        yield Aim("total over the warm client's, ms", total, 2.5)
    elif question.clients == _MANY_CLIENTS:
        rates = ours["req_s"], warm["req_s"]
        yield from _ratio("answers a second against the warm client", *rates, 0.8, is_least=True)


def _ratio(
    name: str, ours: float, theirs: float, bound: float, *, is_least: bool = False
) -> Iterator[Aim]:
    """Yield the aim of a ratio; nothing where the other side has no answer to divide by."""
    if theirs:
        yield Aim(name, ours / theirs, bound, is_least=is_least)


def of_loops(figures: Figures, cpu_ratio: float | None) -> list[dict[str, Any]]:
    """Return the aims of a cell of agent loops; `cpu_ratio` is the child's CPU against the cold side's, if known."""
    ours, kept = figures.get(_GATEWAY), figures.get("kept")
    found = []
    if ours and kept:
        points = (kept["cached_share"] - ours["cached_share"]) * 100
        found.append(Aim("cached share below the kept thread's, points", points, 3))
    if cpu_ratio is not None:
        found.append(Aim("child's CPU against the cold path", cpu_ratio, 0.65))
    return [aim.told() for aim in found]
