import errno
import os
import stat
from pathlib import Path

import pytest

from app.runtime.state_folder import prepare

A_FILE = "CODEX_HOME must be a folder: it, or something above it, is a file."


def test_a_folder_is_made_closed_to_others_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert prepare(folder) == ""
    assert prepare(folder) == ""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_a_file_in_its_place_or_above_it_is_said(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    assert prepare(tmp_path / "file" / below) == A_FILE


def test_what_the_disk_refuses_is_said_without_a_path() -> None:
    sentence = prepare(Path("/proc/canary"))
    assert sentence == f"CODEX_HOME cannot be written to: {os.strerror(errno.ENOENT)}."
