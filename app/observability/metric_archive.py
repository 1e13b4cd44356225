"""Archive of what dead workers have counted: one file of each kind, so that reloads do not fill the disk.

A scrape reads every file; after a thousand reloads that would be thousands. A lock keeps scrapes and merging apart:
readers share it, a merge has it alone. Both take milliseconds, or as long as the disk does.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict

_File: Any = MmapedDict  # which has no types
_KINDS = ("counter", "histogram")
_STREAMS = '"codex_streams_active"'
_ARCHIVE_PID = 0  # of no process


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Hold the files as they are. Blocks while another process folds."""
    with _locked(folder, fcntl.LOCK_SH):
        yield


def merge_dead_workers(folder: Path) -> int:
    """Add up the files of processes that are gone; return how many files that has removed.

    Waits for nobody: raises `BlockingIOError` while a scrape reads, and `OSError` where the disk refuses.
    """
    removed = 0
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for kind in _KINDS:
            dead = [file for file in folder.glob(f"{kind}_*.db") if not _is_alive(_pid_of(file))]
            if len(dead) > 1:
                _fold(dead, folder / f"{kind}_{_ARCHIVE_PID}.db")
                removed += len(dead) - 1
    return removed


def streams_by_worker(folder: Path) -> dict[int, int]:
    """Return how many streams each live worker has open, by its pid. Raises `OSError` where the disk refuses."""
    found = {}
    for file in folder.glob("gauge_livesum_*.db"):
        pid = _pid_of(file)
        # A worker that begins or ends right now may have no file, or an empty one.
        with suppress(FileNotFoundError, struct.error):
            if _is_alive(pid):
                values = _File.read_all_values_from_file(str(file))
                found[pid] = round(sum(value for key, value, *_ in values if _STREAMS in key))
    return found


def _fold(files: list[Path], archive: Path) -> None:
    totals: Counter[str] = Counter()
    for file in files:
        for key, value, _, _ in _File.read_all_values_from_file(str(file)):
            totals[key] += value
    part = archive.with_suffix(".part")
    part.unlink(missing_ok=True)
    written = _File(str(part))
    for key, total in totals.items():
        written.write_value(key, total, 0.0)
    written.close()
    for file in files:
        file.unlink(missing_ok=True)
    part.replace(archive)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, how)  # given back when the file is closed
        yield


def _pid_of(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])


def _is_alive(pid: int) -> bool:
    if pid == _ARCHIVE_PID:
        return False
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
