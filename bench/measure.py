"""Figures: percentiles, and CPU time from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.jobs import Report

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie: the nearest rank, never an invented value."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def cpu_ms(pid: int) -> float:
    """Return the CPU time that a process has used, all its threads, user and system. A tick is 10 ms."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * 1000 / _TICKS_PER_S


def machine_cpu_ms() -> float:
    """Return the CPU time that everything on this machine has used: all columns of /proc/stat but idle and iowait."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system, _idle, _iowait, irq, softirq = (int(word) for word in first.split()[1:8])
    return (user + nice + system + irq + softirq) * 1000 / _TICKS_PER_S


def parent_of(pid: int) -> int:
    """Return the parent's process id."""
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from `state` on (proc(5), field 3): the name before may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()


@dataclass(slots=True)
class Series:
    """All rounds of one side of one cell."""

    rounds: list[Report] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)  # ms by process, summed over the rounds

    def add(self, report: Report, cpu: Mapping[str, float]) -> None:
        """Add one round."""
        self.rounds.append(report)
        for name, spent in cpu.items():
            self.cpu[name] = self.cpu.get(name, 0.0) + spent

    @property
    def first_ms(self) -> list[float]:
        """First-token times of all rounds."""
        return [value for report in self.rounds for value in report.first_ms]

    @property
    def total_ms(self) -> list[float]:
        """Total times of all rounds."""
        return [value for report in self.rounds for value in report.total_ms]

    @property
    def wrong(self) -> int:
        """Answers that were not what the script says."""
        return sum(report.wrong for report in self.rounds)

    def figures(self) -> dict[str, float]:
        """Return what the table shows, by column; CPU is for each good answer."""
        good = len(self.total_ms)
        wall_s = sum(report.wall_s for report in self.rounds)
        times = {
            f"{name}_p{share}": percentile(values, share / 100)
            for name, values in (("first", self.first_ms), ("total", self.total_ms))
            for share in (50, 95)
        }
        spent = {f"cpu_{name}": ms / max(1, good) for name, ms in self.cpu.items()}
        return {"req_s": good / wall_s, **times, **spent}


def added_first_ms(gateway: Series, direct: Series) -> list[float]:
    """Return, round by round, how much later the gateway's median first token comes."""
    pairs = zip(gateway.rounds, direct.rounds, strict=True)
    return [
        median(ours.first_ms) - median(theirs.first_ms)
        for ours, theirs in pairs
        if ours.first_ms and theirs.first_ms
    ]
