"""The trace buffer on disk: one file for each turn in `CODEX_HOME/trace-buffer`, the newest hundred of the last day.

A file's name is made from the time, the process and a count, so that two workers never meet, and from nothing that a
caller sent. A file appears whole or not at all. Whatever else lies in the folder is left alone.

All functions do file I/O. Those that write raise `OSError` if the disk refuses; a file that vanishes meanwhile, since
another worker prunes, too, is no error.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from app.observability.traces import FORMAT, summarize

MAX_FILES = 100
MAX_AGE_S = 24 * 3600

_WHOLE = re.compile(r"[0-9]{13}-[0-9]+-[0-9]+\.json")
_PART = re.compile(_WHOLE.pattern + r"\.part")
_PART_AGE_S = 60
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL

_count = itertools.count(1)


def folder_of(home: Path) -> Path:
    """Return the folder below `CODEX_HOME`."""
    return home / "trace-buffer"


def _scan(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of our files, newest first, and of those that are not whole; none if there is no folder."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  (names are all that is needed)
    except FileNotFoundError:
        return [], []
    parts = [name for name in names if name.endswith(".part") and _PART.fullmatch(name)]
    return sorted(filter(_WHOLE.fullmatch, names), reverse=True), parts


def _is_older(name: str, age_s: float, now: float) -> bool:
    """Also true of a time as far in the future: the clock was set since, and such a file would outlive all others."""
    return abs(now - int(name[:13]) / 1000) > age_s


def write(folder: Path, content: bytes, now: float) -> None:
    """Add one file, for its owner's eyes only; makes the folder if need be. `now` is Unix time."""
    name = f"{int(now * 1000):013d}-{os.getpid()}-{next(_count):09d}.json"
    part = folder / f"{name}.part"
    try:
        descriptor = os.open(part, _NEW_FILE, 0o600)
    except FileNotFoundError:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(part, _NEW_FILE, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        part.replace(folder / name)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def prune(folder: Path, now: float) -> None:
    """Remove what is too old or too much, and what a worker that died has left half written."""
    names, parts = _scan(folder)
    recent = [name for name in names if not _is_older(name, MAX_AGE_S, now)]
    doomed = set(names) - set(recent[:MAX_FILES])
    doomed |= {name for name in parts if _is_older(name, _PART_AGE_S, now)}
    for name in doomed:
        (folder / name).unlink(missing_ok=True)


def count(folder: Path) -> int:
    """Return how many traces there are."""
    return len(_scan(folder)[0])


def contents(folder: Path) -> Iterator[bytes]:
    """Yield every trace, newest first."""
    for name in _scan(folder)[0]:
        with suppress(FileNotFoundError):
            yield (folder / name).read_bytes()


def parse(content: bytes) -> dict[str, Any] | None:
    """Return the trace in a file; None if another version wrote it, or a person has damaged it."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    is_known = isinstance(document, dict) and document.get("format") == FORMAT
    return document if is_known else None


def summaries(traces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield a line about each trace."""
    for content in traces:
        if document := parse(content):
            yield summarize(document, len(content))


def of_request(traces: Iterator[bytes], request_id: str) -> Iterator[dict[str, Any]]:
    """Yield every trace of one request. The id is compared with what is in the files, and is no part of any path."""
    mark = request_id.encode()
    for content in traces:
        # Cheap first: most are of other requests.
        document = parse(content) if mark in content else None
        if document and document.get("request_id") == request_id:
            yield document
