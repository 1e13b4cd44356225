"""Commands `flask codex …` for tests, as processes that an operator starts beside a running gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.harness import KEY, Gateway


def command(
    gateway: Gateway, *arguments: str, folder: Path | None = None, **settings: str
) -> list[Any]:
    """Return the arguments and options of `subprocess` for one command; no `.env` but the folder's reaches it."""
    program = str(Path(sys.executable).parent / "flask")
    environment = gateway.environment or {"PATH": os.environ["PATH"], "HOME": str(folder)}
    own = {"PYTHONDONTWRITEBYTECODE": "1", **settings}
    if folder is None:
        own["FLASK_SKIP_DOTENV"] = "1"
    return [
        [program, "--app", "wsgi", "codex", *arguments],
        {"env": environment | own, "cwd": folder or Path(__file__).parents[2]},
    ]


def run(
    gateway: Gateway,
    *arguments: str,
    given: bytes = b"",
    folder: Path | None = None,
    **settings: str,
) -> subprocess.CompletedProcess[bytes]:
    words, options = command(gateway, *arguments, folder=folder, **settings)
    done = subprocess.run(
        words, input=given, capture_output=True, timeout=60, check=False, **options
    )
    said = done.stdout + done.stderr
    assert b"Traceback" not in said, said
    assert KEY.encode() not in said
    return done
