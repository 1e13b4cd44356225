"""Child without a part of its tuning, for a comparison: a script in place of the binary takes it away again.

All sides of a run get it, the gateway as `CODEX_BIN`. So the product needs no setting that nobody else would use.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

PARTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "memory": ("unset _RJEM_MALLOC_CONF", ""),
        "retries": ("", "-c features.unbounded_connection_retries=true"),
        "threads": ("unset TOKIO_WORKER_THREADS", ""),
    }
)
"""What can be taken away: a line of shell before the start, or more arguments after all others."""


def binary_without(parts: Collection[str], binary: Path, folder: Path) -> Path:
    """Write the script and return its path; the binary itself where nothing is to be taken away."""
    if not parts:
        return binary
    lines = [PARTS[part][0] for part in parts if PARTS[part][0]]
    more = " ".join(PARTS[part][1] for part in parts)
    script = folder / "codex"
    script.write_text(
        "\n".join(["#!/bin/sh", *lines, f'exec {shlex.quote(str(binary))} "$@" {more}', ""])
    )
    script.chmod(0o700)
    return script
