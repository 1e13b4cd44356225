"""Cells of the comparison: a number of clients and a pace each, in which the sides take turns; their figures."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.aims import Question, of_questions
from bench.jobs import Job, digest
from bench.measure import Series, added_first_ms, percentile
from bench.sides import Side
from scripted_upstream.client import Control

FLOOR = "cold"
"""The side that the others are compared with."""


def scripted(control: Control, model: str, deltas: int, interval_ms: float) -> Job:
    """Give the upstream a script; return the job that asks for it once. No two deltas are alike."""
    marker = f"bench-{secrets.token_hex(4)}"
    pieces = [f"w{number:x} " for number in range(deltas)]
    message = {"type": "message", "deltas": pieces}
    control.script(marker, {"items": [message], "interval_ms": interval_ms})
    prompt = f"Please answer as {marker} says."
    spread_s = deltas * interval_ms / 1000
    return Job(model, prompt, 1, 1, deltas, digest(pieces), spread_s)


def sized(job: Job, clients: int, requests: int) -> Job:
    """Return the job for so many clients and requests."""
    return replace(job, concurrency=clients, requests=requests)


def measure(sides: Sequence[Side], job: Job, rounds: int) -> dict[str, Any]:
    """Let the sides take turns, so that whatever else the machine does meets all alike; return the cell."""
    present = [side for side in sides if job.concurrency <= side.most_clients]
    series = {side.name: Series() for side in present}
    for _ in range(rounds):
        for side in present:
            series[side.name].add(*side.run(job))
    question = Question(job.concurrency, job.streamed, paced=bool(job.spread_s))
    return cell(series, question)


def cell(series: Mapping[str, Series], question: Question) -> dict[str, Any]:
    """Return a cell's figures: sides, ratios to the floor, the time that each adds to the first token, and aims."""
    floor = series.get(FLOOR)
    figures = {name: found.figures() for name, found in series.items()}
    return {
        "sides": figures,
        "ratios": ratios(figures),
        "aims": of_questions(figures, question),
        "added_first_ms": {
            name: {
                "of_medians": figures[name]["first_p50"] - figures[FLOOR]["first_p50"],
                "by_round": added_first_ms(found, floor),
            }
            for name, found in series.items()
            if floor is not None and name != FLOOR
        },
        "answers": {name: len(found.total_ms) for name, found in series.items()},
        "wrong": {name: found.wrong for name, found in series.items()},
        "elsewhere_share": max(found.spent.elsewhere_share for found in series.values()),
        "examples": [
            f"{name}: {text}" for name, found in series.items() for text in found.examples
        ],
    }


def ratios(figures: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return each side's figures divided by the floor's, where it has them."""
    floor = figures.get(FLOOR, {})
    return {
        name: {key: value / floor[key] for key, value in found.items() if floor.get(key)}
        for name, found in figures.items()
        if floor and name != FLOOR
    }


def flood(sides: Sequence[Side], job: Job, rounds: int) -> dict[str, Any]:
    """Return the cell of one long stream at a time, with figures for each delta."""
    found = measure(sides, job, rounds)
    for figures in found["sides"].values():
        figures["deltas_s"] = job.deltas / figures["total_p50"] * 1000
        figures |= {
            f"us_{name[4:]}": ms * 1000 / job.deltas
            for name, ms in figures.items()
            if name.startswith("cpu_")
        }
    return found | {"ratios": ratios(found["sides"])}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, and between which values half of them lie."""
    found = values or [float("nan")]
    return percentile(found, 0.5), percentile(found, 0.25), percentile(found, 0.75)
