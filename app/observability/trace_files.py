"""Folder of the trace buffer: a JSON file for each turn in `CODEX_HOME/trace-buffer`, the newest hundred of a day.

A file's name is made from the time, the process and a count, so that two workers never meet, and from nothing that a
caller sent. Whatever else lies in the folder is left alone.

All functions do file I/O and raise `OSError` if the disk refuses. No folder is an empty one; a file that vanishes
meanwhile, since another worker prunes, too, is no error; one that cannot be parsed is passed over, for it is half
written, damaged, or of another version.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.observability.traces import FORMAT

MAX_FILES = 100
MAX_AGE_S = 24 * 3600

_NAME = re.compile(r"[0-9]{13}-[0-9]+-[0-9]+\.json")
_SUMMARY = (
    "request_id",
    "thread_id",
    "turn_id",
    "at",
    "route",
    "stream",
    "model",
    "outcome",
    "error_code",
    "first_event_ms",
    "duration_ms",
)

_count = itertools.count(1)


class Stored(NamedTuple):
    """One trace, and the bytes of its file."""

    document: dict[str, Any]
    size: int


def folder_of(home: Path) -> Path:
    """Return the folder below `CODEX_HOME`."""
    return home / "trace-buffer"


def _names(folder: Path) -> list[str]:
    """Return the names of our files, newest first."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  (names are all that is needed)
    except FileNotFoundError:
        return []
    return sorted(filter(_NAME.fullmatch, names), reverse=True)


def write(folder: Path, document: Mapping[str, Any], now: float) -> None:
    """Add one file, for its owner's eyes only; makes the folder if need be. `now` is when it ended, in Unix time."""
    left = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    path = f"{folder}/{int(now * 1000):013d}-{os.getpid()}-{next(_count):09d}.json"
    try:
        descriptor = _create(path)
    except FileNotFoundError:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _create(path)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        Path(path).unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def prune(folder: Path, now: float) -> int:
    """Remove what is too old or too much, and return how many are left.

    A time as far in the future was of a wrong clock.
    """
    names = _names(folder)
    recent = [name for name in names if abs(now - int(name[:13]) / 1000) <= MAX_AGE_S]
    kept = recent[:MAX_FILES]
    for name in set(names) - set(kept):
        with suppress(FileNotFoundError):
            os.unlink(f"{folder}/{name}")  # noqa: PTH108  (one for nearly each turn: a path object costs more)
    return len(kept)


def read(folder: Path) -> list[Stored]:
    """Return every trace, the one that ended last first."""
    found = []
    for name in _names(folder):
        with suppress(FileNotFoundError, orjson.JSONDecodeError):
            content = (folder / name).read_bytes()
            document = orjson.loads(content)
            if isinstance(document, dict) and document.get("format") == FORMAT:
                found.append(Stored(document, len(content)))
    return found


def summary(trace: Stored) -> dict[str, Any]:
    """Return the line of a list for one trace."""
    shown = {name: trace.document.get(name) for name in _SUMMARY}
    return shown | {"bytes": trace.size, "has_content": "content" in trace.document}


def of_request(traces: list[Stored], request_id: str) -> list[dict[str, Any]]:
    """Return every trace of one request, in the order of their beginnings."""
    found = [each.document for each in traces if each.document.get("request_id") == request_id]
    return sorted(found, key=lambda document: str(document.get("at")))
