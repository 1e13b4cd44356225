"""Renewal lock of a CODEX_HOME: held for whichever one child may be renewing the login that all children share.

A refresh token is good for one use, and codex itself locks nothing. Who starts a child while the login is due, or asks
one to renew it, holds this lock meanwhile: workers of all generations, and commands. It is a lock of the kernel on an
open file, so it goes with the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class RenewalLock:
    """One holder's handle. Raises `OSError` where the file cannot be made. Nothing here blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """True while it is held through this handle."""
        return self._descriptor is not None

    def try_acquire(self) -> bool:
        """Take it if nobody has it; True if it is held now."""
        if self._descriptor is not None:
            return True
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
