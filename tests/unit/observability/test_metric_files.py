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


# Room on the disk


def test_the_reserved_files_are_those_that_the_library_uses(folder: Path) -> None:
    """Were they called otherwise, the library would make others, and reserving would be for nothing."""
    code = (
        "import os\nfrom pathlib import Path\nfrom app.observability import metric_files\n"
        f"assert metric_files.reserve(Path({str(folder)!r}), os.getpid())\n"
    )
    run(folder, code + COUNTS.format(ends=True))
    files = sorted(folder.glob("*.db"))
    assert len(files) == 4
    assert {file.stat().st_size for file in files} == {128 * 1024}
    assert {file.stat().st_blocks * 512 for file in files} == {128 * 1024}
    assert 'codex_http_requests_total{code="none",method="POST",route="/x",status="0"} 1.0' in run(
        folder, EXPOSES
    )


def test_without_room_nothing_is_left_behind(tmp_path: Path) -> None:
    assert not metric_files.reserve(tmp_path / "nowhere", 1)
    assert list(tmp_path.iterdir()) == []


# Workers that are gone

FOLDS = "from app.observability.metrics import Metrics; Metrics().merge_dead_workers()"


def test_what_dead_workers_counted_becomes_one_file_of_each_kind(folder: Path) -> None:
    for _ in range(3):
        run(folder, COUNTS.format(ends=True))
    before = run(folder, EXPOSES)
    run(folder, FOLDS)
    assert {file.name for file in folder.glob("counter_*")} >= {"counter_0.db"}
    for kind in ("counter", "histogram"):
        assert len(list(folder.glob(f"{kind}_*.db"))) <= 2  # the sum, and that of who folded
    run(folder, COUNTS.format(ends=True))
    run(folder, FOLDS)
    after = run(folder, EXPOSES)
    name = 'codex_http_requests_total{code="none",method="POST",route="/x",status="0"}'
    assert f"{name} 3.0" in before
    assert f"{name} 4.0" in after
    assert 'codex_stream_duration_ms_count{outcome="completed"} 4.0' in after


def test_files_of_the_living_are_left_alone(folder: Path) -> None:
    for _ in range(2):
        run(folder, COUNTS.format(ends=True))
    mine = folder / f"counter_{os.getpid()}.db"
    run(folder, COUNTS.format(ends=True))
    last = max(folder.glob("counter_*.db"))
    last.rename(mine)
    content = mine.read_bytes()
    run(folder, FOLDS)
    assert mine.read_bytes() == content
