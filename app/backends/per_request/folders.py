"""Folders of one worker's codex processes: one for each, with databases and temporary files of its own.

codex opens databases at its start and makes those that are not there, which is half of what a start takes. So each
process is given copies of a set that no turn has touched. A lock of the kernel tells a worker's folder that is in use
from one that a worker has left behind, which is removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

_KEEP_NO_LOG = """
create trigger if not exists gateway_keeps_no_log
before insert on logs begin select raise(ignore); end
"""


class Folders:
    """Raises `OSError` where the disk refuses. `root` holds the folders of all workers."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._own: Path | None = None
        self._lock: int | None = None
        self._pattern: Path | None = None
        self._numbers = count(1)

    @property
    def has_pattern(self) -> bool:
        """True once there are databases to copy."""
        return self._pattern is not None

    def open(self) -> None:
        """Make this worker's folder, and remove those of workers that are gone. Idempotent."""
        if self._own is not None and self._own.is_dir():
            return
        self.close()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One at a time: between its making and its lock a folder looks like one that was left behind.
        entry = os.open(self._root, os.O_RDONLY)
        try:
            fcntl.flock(entry, fcntl.LOCK_EX)
            self._sweep()
            own = self._root / f"{os.getpid()}-{os.urandom(4).hex()}"
            own.mkdir(mode=0o700)
            self._lock = _locked(own)
            self._own = own
        finally:
            os.close(entry)

    def _sweep(self) -> None:
        for folder in self._root.iterdir():
            lock = _locked(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)

    def new(self) -> Path:
        """Make a folder for one process."""
        if self._own is None:
            raise FileNotFoundError("the folder for codex processes was not made")
        folder = self._own / str(next(self._numbers))
        if self._pattern is None:
            folder.mkdir(mode=0o700)
        else:
            shutil.copytree(self._pattern, folder)
        return folder

    def learn(self, folder: Path) -> None:
        """Take the databases of a process that had no turn and has exited as those to copy."""
        if self.has_pattern or self._own is None:
            return
        pattern = self._own / "pattern"
        with suppress(sqlite3.Error, OSError):  # then each process goes on making its own
            pattern.mkdir(mode=0o700)
            for path in folder.glob("*.sqlite"):
                with closing(sqlite3.connect(path, timeout=2)) as database:
                    database.execute("pragma journal_mode=delete")  # all of it in the one file
                    if path.name.startswith("logs_"):
                        database.execute(_KEEP_NO_LOG)
                    database.commit()
                shutil.copyfile(path, pattern / path.name)
            self._pattern = pattern

    def remove(self, folder: Path) -> None:
        """Remove the folder of a process that is gone."""
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove this worker's folder. Idempotent."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
        self._own = self._lock = self._pattern = None


def _locked(folder: Path) -> int | None:
    """Lock a folder, which lasts until the descriptor that is returned is closed; None where another one has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
