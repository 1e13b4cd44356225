"""Pid file of the master: for its user only, and of no weight once its process has gone.

gunicorn takes any living process with that number for a running master. After a crash and a reboot, or in a container
that starts again, the number belongs to something else, and the service would not start.

Loaded by gunicorn's master, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
from gunicorn.pidfile import Pidfile

_SLACK_S = 2.0
"""A process that began so much later than the file was written is not the one that wrote it; clocks are coarse."""


class PrivatePidfile(Pidfile):
    """gunicorn's pid file with mode 0600."""

    def create(self, pid: Any) -> None:
        """Write it. Raises `RuntimeError` if another master runs."""
        remove_stale(Path(str(self.fname)))
        super().create(pid)
        self.close_to_others()

    def close_to_others(self) -> None:
        """Take from others what gunicorn has given them. Raises `OSError`."""
        Path(str(self.fname)).chmod(0o600)


def remove_stale(path: Path) -> None:
    """Remove the file if the process that wrote it is gone, whoever has its number now. Raises `OSError`."""
    if _is_stale(path):
        path.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    try:
        process, written = psutil.Process(int(path.read_text())), path.stat().st_mtime
        return (
            process.status() == psutil.STATUS_ZOMBIE or process.create_time() > written + _SLACK_S
        )
    except psutil.NoSuchProcess:
        return True
    except (OSError, ValueError, OverflowError, psutil.Error):
        return False  # there is none, or it names no process: gunicorn writes over it


def running(path: Path) -> int | None:
    """Return the process that wrote the file and still runs, None without one."""
    try:
        remove_stale(path)
        pid = int(path.read_text())
    except (OSError, ValueError):
        return None
    return pid if psutil.pid_exists(pid) else None
