"""The pid file beside real processes: whose number it holds, and since when."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.runtime.pid_file import PrivatePidfile, remove_stale


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Another living process."""
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with running:
        yield running
        running.kill()


def write(folder: Path, pid: int, age_s: float = 0.0) -> Path:
    path = folder / "gunicorn.pid"
    path.write_text(f"{pid}\n")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_one_whose_process_runs_is_left_alone(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    path = write(tmp_path, process.pid)
    remove_stale(path)
    assert path.exists()
    with pytest.raises(RuntimeError, match="Already running"):
        PrivatePidfile(str(path)).create(1)


def test_one_that_is_older_than_the_process_with_its_number_stops_nobody(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    path = write(tmp_path, process.pid, age_s=3600)
    PrivatePidfile(str(path)).create(os.getpid())
    assert path.read_text() == f"{os.getpid()}\n"


def test_one_of_a_process_that_nobody_has_waited_for_stops_nobody(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    path = write(tmp_path, process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    remove_stale(path)
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "x", "-1", "0", "9" * 30])
def test_one_that_names_no_process_is_written_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gunicorn.pid"
    path.write_text(content)
    remove_stale(path)
    remove_stale(tmp_path / "none")


def test_it_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "gunicorn.pid"
    PrivatePidfile(str(path)).create(os.getpid())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
