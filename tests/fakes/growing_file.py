"""File that another process still writes: its whole lines, never the first half of one."""

from __future__ import annotations

from pathlib import Path


def whole_lines(path: Path, start: int = 0) -> list[str]:
    """Return the lines from byte `start` on that are written to their end."""
    text = path.read_bytes()[start:]
    whole = text[: text.rfind(b"\n") + 1]
    return [line.decode() for line in whole.splitlines()]
