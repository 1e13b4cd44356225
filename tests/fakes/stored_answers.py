"""Stored answers for tests, and a process that stores them without end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.answer_store.sqlite_store import SqliteStore
from app.answer_store.stored_answer import StoredAnswer
from app.errors import StoreFailed
from app.settings import ROOT

GB = 1 << 30
MONTH_S = 2_592_000.0


def stored(id_: str, before: str | None = None, owner: str = "ann", size: int = 3) -> StoredAnswer:
    """Return an answer whose JSON has `size` bytes in each of its three parts, different ones."""
    answer, given, made = (mark * size for mark in (b"1", b"2", b"3"))
    return StoredAnswer(id_, owner, 1_700_000_000, before, answer, given, made)


def chained(
    count: int, stem: str = "resp", owner: str = "ann", size: int = 3
) -> Iterator[StoredAnswer]:
    """Yield so many answers, each of which continues the one before."""
    before = None
    for number in range(count):
        yield stored(f"{stem}_{number}", before, owner, size)
        before = f"{stem}_{number}"


@contextmanager
def writer(folder: Path, stem: str, most_file_bytes: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stores one chain until it is killed, and writes a line for each: its number, or `failed`."""
    arguments = [str(folder), stem, str(most_file_bytes)]
    words = [sys.executable, "-m", "tests.fakes.stored_answers", *arguments]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _write(folder: Path, stem: str, most_file_bytes: int) -> None:
    os.umask(0)
    if most_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_file_bytes, most_file_bytes))
    store = SqliteStore(folder, GB, MONTH_S)
    for number, answer in enumerate(chained(1_000_000, stem, size=20_000)):
        try:
            store.put(answer)
        except StoreFailed:
            sys.stdout.write(f"failed {store.problem}\n")
        else:
            sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
