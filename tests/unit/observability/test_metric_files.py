"""The folder of the metrics, with files as prometheus_client really makes them, in processes of their own."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.observability import metric_files
from app.settings import ROOT

COUNTS = """
import os
from app.observability.metrics import Metrics
from app.observability.requests import RequestRecord
metrics = Metrics()
record = RequestRecord("r", "POST", route="/x", listeners=[metrics])
record.begin_stream()
if {ends}:
    record.write()
print(os.getpid())
"""

EXPOSES = "from app.observability.metrics import Metrics; print(Metrics().expose(None)[0])"


def run(folder: Path, code: str) -> str:
    env = {metric_files.VARIABLE: str(folder), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-B", "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = metric_files.folder_of(tmp_path)
    metric_files.prepare(folder, fresh=True)
    return folder


def test_the_folder_is_closed_to_others(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_counters_of_dead_processes_add_up_and_their_gauges_do_not(folder: Path) -> None:
    pids = [int(run(folder, COUNTS.format(ends=ends))) for ends in (True, False)]
    text = run(folder, EXPOSES)
    assert 'codex_http_requests_total{code="none",method="POST",route="/x",status="0"} 1.0' in text
    assert "codex_streams_active 1.0" in text
    for pid in pids:
        metric_files.forget(folder, pid)
    text = run(folder, EXPOSES)
    assert 'route="/x",status="0"} 1.0' in text
    assert "codex_streams_active 0.0" in text


def test_another_process_is_not_forgotten_with_it(folder: Path) -> None:
    pid = int(run(folder, COUNTS.format(ends=False)))
    metric_files.forget(folder, pid + 1)
    metric_files.forget(folder, int(str(pid)[:-1] or 0))
    assert "codex_streams_active 1.0" in run(folder, EXPOSES)


def test_only_a_fresh_start_counts_from_zero(folder: Path) -> None:
    run(folder, COUNTS.format(ends=True))
    metric_files.prepare(folder, fresh=False)
    assert 'route="/x"' in run(folder, EXPOSES)
    (folder / "note.txt").write_text("not ours")
    metric_files.prepare(folder, fresh=True)
    assert 'route="/x"' not in run(folder, EXPOSES)
    assert (folder / "note.txt").exists()
