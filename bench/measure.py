"""Figures of processes and of rounds: CPU time, memory, descriptors, percentiles."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.jobs import Report

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_WATCH_S = 0.2


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie: the nearest rank, never an invented value."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def cpu_ms(pid: int) -> float:
    """Return the CPU time that a process has used, all its threads, user and system, to the microsecond."""
    return (
        time.clock_gettime((~pid << 3) | 2) * 1000
    )  # the clock of another process: clock_getcpuclockid(3)


def reaped_cpu_ms(pid: int) -> float:
    """Return the CPU time of the processes that this one has started and that have ended. A tick is 10 ms."""
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) * 1000 / _TICKS_PER_S


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
class Peak:
    """Most that a process held at a moment at which it was looked at."""

    memory_mb: float = 0.0
    descriptors: int = 0

    def look(self, pid: int) -> None:
        """Look at a process; one that is gone is no fault."""
        with suppress(OSError):
            pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
            self.memory_mb = max(self.memory_mb, pages * _PAGE_BYTES / (1 << 20))
            self.descriptors = max(
                self.descriptors, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            )


@contextmanager
def watching(pids: Mapping[str, int]) -> Iterator[dict[str, Peak]]:
    """Look at processes every 200 ms; yield their peaks, which are whole once the context is left."""
    peaks = {name: Peak() for name in pids}
    over = threading.Event()

    def watch() -> None:
        while True:
            for name, pid in pids.items():
                peaks[name].look(pid)
            if over.wait(_WATCH_S):
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


@dataclass(slots=True)
class Spent:
    """What the processes of a side used, summed over its rounds: CPU ms, seconds, and the most that each held."""

    cpu: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, Peak] = field(default_factory=dict)
    wall_s: float = 0.0

    def add(self, other: Spent) -> None:
        """Add one round."""
        self.wall_s += other.wall_s
        for name, spent in other.cpu.items():
            self.cpu[name] = self.cpu.get(name, 0.0) + spent
        for name, peak in other.peaks.items():
            most = self.peaks.setdefault(name, Peak())
            most.memory_mb = max(most.memory_mb, peak.memory_mb)
            most.descriptors = max(most.descriptors, peak.descriptors)

    def figures(self, answers: int) -> dict[str, float]:
        """Return CPU ms for each answer, the share of this machine's cores that was busy with it, and the peaks."""
        found = {f"cpu_{name}": ms / max(1, answers) for name, ms in self.cpu.items()}
        ours = sum(self.cpu.get(name, 0.0) for name in ("self", "codex"))
        found["busy"] = ours / 1000 / max(self.wall_s, 1e-9) / len(os.sched_getaffinity(0))
        for name, peak in self.peaks.items():
            found |= {f"mb_{name}": peak.memory_mb, f"fds_{name}": float(peak.descriptors)}
        return found

    @property
    def elsewhere_share(self) -> float:
        """The share of the machine's CPU time that was used by processes which are none of ours."""
        spent_s = self.cpu.get("elsewhere", 0.0) / 1000
        return max(0.0, spent_s / max(self.wall_s, 1e-9) / len(os.sched_getaffinity(0)))


@dataclass(slots=True)
class Series:
    """All rounds of one side of one cell."""

    rounds: list[Report] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)

    def add(self, report: Report, spent: Spent) -> None:
        """Add one round."""
        self.rounds.append(report)
        self.spent.add(spent)

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

    @property
    def examples(self) -> list[str]:
        """What was wrong with some of them."""
        return [text for report in self.rounds for text in report.examples]

    def figures(self) -> dict[str, float]:
        """Return what the table shows, by column; CPU is for each good answer."""
        good = len(self.total_ms)
        wall_s = sum(report.wall_s for report in self.rounds)
        times = {
            f"{name}_p{share}": percentile(values, share / 100)
            for name, values in (("first", self.first_ms), ("total", self.total_ms))
            for share in (50, 95)
        }
        return {"req_s": good / wall_s, **times, **self.spent.figures(good)}


def added_first_ms(ours: Series, theirs: Series) -> list[float]:
    """Return, round by round, how much later the median first token of the first side comes."""
    pairs = zip(ours.rounds, theirs.rounds, strict=True)
    return [
        median(one.first_ms) - median(other.first_ms)
        for one, other in pairs
        if one.first_ms and other.first_ms
    ]
