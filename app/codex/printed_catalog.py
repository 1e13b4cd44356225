"""Catalog that a codex binary printed, kept in CODEX_HOME: a start does not ask again what cannot have changed.

It belongs to one file of one size, inode and time of change. Of a script nothing is kept: what it runs may be another
binary the next time. What is kept is believed only as it was written: a digest stands before it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.codex.binary import is_native

_HEAD_LINES = 2


@dataclass(frozen=True, slots=True)
class PrintedCatalog:
    """The file, below CODEX_HOME. Nothing here raises: what cannot be kept is printed again."""

    file: Path

    def read(self, binary: Path) -> bytes | None:
        """Return what that binary printed; None where nothing whole is kept of it."""
        try:
            mark = _mark(binary)
            *head, printed = self.file.read_bytes().split(b"\n", _HEAD_LINES)
        except OSError:
            return None
        return printed if mark and head == [mark, _digest(printed)] else None

    def write(self, binary: Path, printed: bytes) -> None:
        """Keep what that binary has printed, in place of whatever was kept."""
        with suppress(OSError):
            if mark := _mark(binary):
                descriptor, part = tempfile.mkstemp(dir=self.file.parent, suffix=".part")
                with os.fdopen(descriptor, "wb") as file:
                    file.write(b"\n".join((mark, _digest(printed), printed)))
                Path(part).replace(self.file)

    def forget(self) -> None:
        """Keep nothing."""
        with suppress(OSError):
            self.file.unlink(missing_ok=True)


def _mark(binary: Path) -> bytes:
    """Return what tells a file from any other, and from what it was before; empty for a script. Raises `OSError`."""
    if not is_native(binary):
        return b""
    found = binary.stat()
    parts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, str(binary.resolve()))
    return repr(parts).encode()


def _digest(printed: bytes) -> bytes:
    return hashlib.sha256(printed).hexdigest().encode()
