"""CODEX_HOME before anything is started in it: made, and found good for writing, or refused with a reason.

Loaded by gunicorn's master, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

_PROOF = b"x" * 4096


def prepare(folder: Path) -> str:
    """Make the folder, closed to others, if need be; return why it cannot be used, empty if it can.

    Blocks for the disk.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Written to: modes say nothing about a mount, and on a full disk an empty file may still be made.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(_PROOF)
    except (FileExistsError, NotADirectoryError):
        return "CODEX_HOME must be a folder: it, or something above it, is a file."
    except OSError as error:
        return f"CODEX_HOME cannot be written to: {error.strerror}."
    return ""
