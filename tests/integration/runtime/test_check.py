"""The check before a reload as a process: it answers, it breaks, it hangs, and the caller never waits for it."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import threading
import time
import warnings
from pathlib import Path

import psutil
import pytest

from app.runtime.check import RunningCheck
from app.runtime.layout import LAYOUT
from app.settings import ROOT

ARGUMENTS = ["-c", "gunicorn.conf.py", "wsgi:app"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code with good settings, and an environment without any."""
    for name in [name for name in os.environ if name.startswith(("PROXY_", "WORKER_", "CODEX_"))]:
        monkeypatch.delenv(name)
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".env").write_text(
        "PROXY_API_KEY=sk-test\nPORT=0\nCODEX_UPSTREAM_URL=http://127.0.0.1:9/v1\n"
        f"CODEX_HOME={tmp_path / 'home'}\n"
    )
    return tmp_path


def begin(
    folder: Path, arguments: list[str] = ARGUMENTS, *, layout: int = LAYOUT, limit_s: float = 30
) -> RunningCheck:
    return RunningCheck(arguments, ["127.0.0.1", 0], layout, str(folder), limit_s)


def problems_of(check: RunningCheck) -> tuple[str, ...]:
    pid = check._pid
    deadline = time.monotonic() + 30
    while (problems := check.poll()) is None:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    os.waitpid(pid, 0)  # as gunicorn's master does
    return problems


def test_good_code_and_good_settings_pass(folder: Path) -> None:
    assert problems_of(begin(folder)) == ()


def test_another_layout_of_the_shared_memory_needs_another_master(folder: Path) -> None:
    (problem,) = problems_of(begin(folder, layout=LAYOUT + 1))
    assert problem.startswith("This version needs a new master: send USR2")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([*ARGUMENTS, "--workers", "2"], "The gateway runs exactly one gunicorn worker."),
        (["--no-such-option"], "gunicorn refuses its command line."),
        (["-c", "gone.py", "wsgi:app"], "RuntimeError in base.py"),
    ],
)
def test_what_gunicorn_would_refuse_is_a_problem(
    folder: Path, arguments: list[str], problem: str
) -> None:
    (found,) = problems_of(begin(folder, arguments))
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "source",
    ["import os\nos._exit(0)\n", "import os\nos.abort()\n", "import os\nos.write(1, b'{')"],
)
def test_a_program_that_disturbs_the_check_is_a_problem_or_harmless(
    folder: Path, source: str
) -> None:
    wsgi = folder / "wsgi.py"
    wsgi.write_text(source + "\n" + wsgi.read_text())
    is_harmless = "write" in source
    expected = () if is_harmless else ("The check ended without a verdict.",)
    assert problems_of(begin(folder)) == expected


def test_a_check_that_hangs_is_ended_after_a_while(folder: Path) -> None:
    (folder / "wsgi.py").write_text("import time\ntime.sleep(1000)\n")
    assert problems_of(begin(folder, limit_s=1)) == ("The check took longer than 1 seconds.",)


def test_a_check_that_is_cancelled_leaves_nothing(folder: Path) -> None:
    (folder / "wsgi.py").write_text("import time\ntime.sleep(1000)\n")
    before = psutil.Process().num_fds()
    check = begin(folder)
    check.cancel()
    assert os.waitstatus_to_exitcode(os.waitpid(check._pid, 0)[1]) == -9
    assert psutil.Process().num_fds() == before


def test_whoever_has_a_copy_of_a_running_check_says_nothing_at_its_end(folder: Path) -> None:
    (folder / "wsgi.py").write_text("import time\ntime.sleep(1000)\n")
    check = begin(folder)
    pid, pipe = check._pid, check._pipe
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        del check
        gc.collect()
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pipe)
    assert [str(warning.message) for warning in said] == []
