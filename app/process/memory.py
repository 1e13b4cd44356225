"""Resident memory and processor time of a process, and how long it waits for a processor."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

_NANOSECONDS = 1e9


def resident_bytes(pid: int) -> int | None:
    """Return how much memory a process holds; None where it is gone or the system does not say."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError):
        return None


def cpu_seconds(pid: int) -> float | None:
    """Return how much processor time a process has used; None where it is gone or the system does not say."""
    try:
        times = psutil.Process(pid).cpu_times()
    except (psutil.Error, OSError):
        return None
    return float(times.user + times.system)


def waited_seconds(pid: int) -> float:
    """Return how long the threads of a process have waited for a processor, all together; 0 where nobody knows.

    Linux alone tells (proc(5), `schedstat`: time on a processor, time in the queue for one, in nanoseconds).
    """
    waited = 0
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, ValueError, IndexError):  # it may have ended
                waited += int((thread / "schedstat").read_text().split()[1])
    return waited / _NANOSECONDS
