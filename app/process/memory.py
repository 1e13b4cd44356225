"""Resident memory and processor time of a process."""

from __future__ import annotations

import psutil


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
