"""Cells of agent loops: how much of the input was cached, what each round cost, and the aims that these have."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.agent_loop import LoopJob, LoopReport, Round, script
from bench.aims import of_loops
from bench.cells import ratios
from bench.measure import Spent, percentile
from bench.sides import Side
from scripted_upstream.client import Control

_COUNTED = ("bytes_received", "bytes_sent", "input_tokens", "cached_tokens")
_WAYS = ("received", "sent")


@dataclass(frozen=True, slots=True)
class Workload:
    """So many conversations at once, whose answers are streamed or come whole."""

    name: str
    at_once: int
    streamed: bool


WORKLOADS = (
    Workload("one, streamed", 1, streamed=True),
    Workload("one, whole", 1, streamed=False),
    Workload("two at once", 2, streamed=True),
    Workload("16 of 4 keys", 16, streamed=True),
)


@dataclass(slots=True)
class LoopSeries:
    """All loops of one side of one cell. `counted` is what the upstream received, sent and found in its cache."""

    loops: list[list[Round]] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    counted: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    examples: list[str] = field(default_factory=list)
    wall_s: float = 0.0

    def add(self, report: LoopReport, spent: Spent, counted: Mapping[str, int]) -> None:
        """Add one run."""
        self.loops += report.loops
        self.spent.add(spent)
        self.wrong += report.wrong
        self.examples += report.examples
        self.wall_s += report.wall_s
        for name, count in counted.items():
            self.counted[name] = self.counted.get(name, 0) + count

    @property
    def rounds(self) -> list[Round]:
        """All rounds of all loops."""
        return [each for loop in self.loops for each in loop]

    def figures(self) -> dict[str, float]:
        """Return what the table shows; CPU and bytes are for each round."""
        rounds = self.rounds
        told = _share(
            sum(each.cached_tokens for each in rounds), sum(each.input_tokens for each in rounds)
        )
        share = _share(self.counted["cached_tokens"], self.counted["input_tokens"])
        times = {
            f"{name}_p{at}": percentile([getattr(each, f"{name}_ms") for each in rounds], at / 100)
            for name in ("first", "total")
            for at in (50, 95)
        }
        count = max(1, len(rounds))
        sizes = {f"kb_{way}": self.counted[f"bytes_{way}"] / 1024 / count for way in _WAYS}
        rate = len(rounds) / max(self.wall_s, 1e-9)
        spent = self.spent.figures(len(rounds))
        shares = {"cached_share": share, "told_share": told}
        return {**shares, "rounds_s": rate, **times, **sizes, **spent}

    def curve(self) -> dict[str, list[float]]:
        """Return the medians over the loops, round by round: what an answer costs as its conversation grows."""
        by_round = list(zip(*self.loops, strict=True))
        names = ("first_ms", "cpu_ms", "input_tokens", "cached_tokens")
        return {
            name: [percentile([getattr(each, name) for each in same], 0.5) for same in by_round]
            for name in names
        }


def _share(cached: int, given: int) -> float:
    return cached / given if given else 0.0


def measure(
    sides: Sequence[Side],
    control: Control,
    workload: Workload,
    job: LoopJob,
    repeats: int,
) -> dict[str, Any]:
    """Let the sides take turns; return the cell. `job` has the model and the sizes, its markers are made here."""
    series = {side.name: LoopSeries() for side in sides}
    for _ in range(repeats):
        for side in sides:
            series[side.name].add(*_run(side, control, workload, job))
    return cell(series, has_curve=workload.at_once == 1)


def _run(
    side: Side, control: Control, workload: Workload, job: LoopJob
) -> tuple[LoopReport, Spent, dict[str, int]]:
    markers = [f"loop-{secrets.token_hex(4)}" for _ in range(workload.at_once)]
    for marker in markers:
        control.script(marker, script(marker, job.rounds))
    watched = side.pids.get("codex") if workload.at_once == 1 else None
    sized = LoopJob(
        job.model, markers, job.rounds, job.result_chars, workload.streamed, watched_pid=watched
    )
    before = control.state()
    report, spent = side.run_loops(sized)
    after = control.state()
    for marker in markers:
        control.drop(marker)
    return report, spent, {name: after[name] - before[name] for name in _COUNTED}


def cell(series: Mapping[str, LoopSeries], *, has_curve: bool) -> dict[str, Any]:
    """Return a cell's figures: each side's, their ratios to the cold path, the aims, and the cost of each round."""
    figures = {name: found.figures() for name, found in series.items()}
    compared = ratios(figures)
    return {
        "sides": figures,
        "ratios": compared,
        "aims": of_loops(figures, compared.get("gateway", {}).get("cpu_codex")),
        "curves": {name: found.curve() for name, found in series.items()} if has_curve else {},
        "answers": {name: len(found.rounds) for name, found in series.items()},
        "wrong": {name: found.wrong for name, found in series.items()},
        "elsewhere_share": max(found.spent.elsewhere_share for found in series.values()),
        "examples": [
            f"{name}: {text}" for name, found in series.items() for text in found.examples
        ],
    }
