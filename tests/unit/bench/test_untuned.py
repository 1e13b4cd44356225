"""A child without a part of its tuning is the same binary with the same arguments."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench.untuned import PARTS, binary_without

TUNED = {
    "_RJEM_MALLOC_CONF": "x",
    "TOKIO_WORKER_THREADS": "16",
    "OTHER": "y",
    "PATH": os.environ["PATH"],
}


def test_nothing_to_take_away_is_the_binary_itself(tmp_path: Path) -> None:
    assert binary_without([], Path("/opt/codex"), tmp_path) == Path("/opt/codex")


@pytest.mark.parametrize(
    ("parts", "gone", "added"),
    [
        (["memory"], {"_RJEM_MALLOC_CONF"}, ""),
        (["threads"], {"TOKIO_WORKER_THREADS"}, ""),
        (["retries"], set(), " -c features.unbounded_connection_retries=true"),
        (
            list(PARTS),
            {"_RJEM_MALLOC_CONF", "TOKIO_WORKER_THREADS"},
            " -c features.unbounded_connection_retries=true",
        ),
    ],
)
def test_what_is_taken_away(tmp_path: Path, parts: list[str], gone: set[str], added: str) -> None:
    binary = tmp_path / "a binary"
    binary.write_text('#!/bin/sh\necho "$@"\nenv\n')
    binary.chmod(0o700)
    script = binary_without(parts, binary, tmp_path)
    done = subprocess.run(
        [script, "app-server", "-c", 'a="b c"'],
        env=TUNED,
        capture_output=True,
        text=True,
        check=True,
    )
    said, *environment = done.stdout.splitlines()
    assert said == f'app-server -c a="b c"{added}'
    names = {line.partition("=")[0] for line in environment}
    assert TUNED.keys() - names == gone
