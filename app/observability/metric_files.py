"""Folder through which workers share their metrics: one file for each process and kind, kept by prometheus_client.

The master makes and cleans it, and must not load the application or the library (ADR-0013): so this module imports
nothing but the standard library. What the files are called is the library's; a test holds this module to it.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks for the folder's path, once, when it is imported."""


def folder_of(home: Path) -> Path:
    """Return the folder below `CODEX_HOME`."""
    return home / "metrics"


def prepare(folder: Path, *, fresh: bool) -> None:
    """Make the folder; if this is a fresh start, without files of earlier processes. Raises `OSError`.

    Not fresh is a master that takes over from one that still counts (USR2): their counters go on together.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if fresh:
        for file in folder.glob("*.db"):
            file.unlink(missing_ok=True)


_KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemostrecent")
_RESERVED_BYTES = 128 * 1024


def reserve(folder: Path, pid: int) -> bool:
    """Make the files of a process that is about to count, with room on the disk; False if there is none.

    The library maps sparse files into memory: on a full disk the first write to a new page of one kills the process
    (SIGBUS). Where there is no room, a worker counts in its own memory instead.
    """
    made = []
    try:
        for kind in _KINDS:
            path = folder / f"{kind}_{pid}.db"
            with path.open("wb") as file:
                made.append(path)
                os.posix_fallocate(file.fileno(), 0, _RESERVED_BYTES)
    except OSError:
        for path in made:
            path.unlink(missing_ok=True)
        return False
    return True


def forget(folder: Path, pid: int) -> None:
    """Remove the gauges of a process that has ended. Its counters stay: what was counted has happened."""
    for file in folder.glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)
