"""A child as a real process: what it is given, what is left of it, how it is ended for certain."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent import subprocess

from app.process import fork_filter
from app.process.child import Child, ChildSpec, StopLadder
from tests.fakes import children
from tests.fakes.waiting import (
    DEADLINE_S,
    deadline,
    eventually,
    in_background,
    is_known,
    is_running,
    result,
)

ROOT = Path(__file__).parents[3]
CANARY = "canary-on-stderr"
PATIENT = StopLadder(DEADLINE_S, DEADLINE_S, DEADLINE_S)
SHORT_S = 0.05

Start = Callable[..., Child]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Child] = []

    def start(program: str, **named: Any) -> Child:
        child = Child(children.spec(program, tmp_path, **named))
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        assert child.wait(DEADLINE_S) is not None
        assert not is_known(child.pid)
        child.close()


def described(child: Child) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(children.read_line(child))
    return about


# What it is born with


@pytest.mark.skipif(not fork_filter.is_available(), reason="this system has no such filter")
def test_one_that_is_alone_starts_threads_and_no_process(start: Start) -> None:
    refused = os.strerror(errno.EPERM)
    assert described(start(children.TRIES_TO_START_OTHERS, is_alone=True)) == {
        "fork": refused,
        "subprocess": refused,
        "posix_spawn": refused,
        "thread": "started",
    }
    assert set(described(start(children.TRIES_TO_START_OTHERS)).values()) == {"started"}


def test_it_leads_a_session_of_its_own(start: Start) -> None:
    child = start(children.DESCRIBES_ITSELF)
    about = described(child)
    assert about["pid"] == about["session"] == about["group"] == child.pid
    assert os.getsid(child.pid) != os.getsid(0)


def test_it_inherits_no_descriptor_and_speaks_over_one_socket(start: Start) -> None:
    reading, writing = os.pipe()
    try:
        os.set_inheritable(writing, True)
        fds = described(start(children.DESCRIBES_ITSELF))["fds"]
    finally:
        os.close(reading)
        os.close(writing)
    assert set(fds) == {"0", "1", "2"}
    assert fds["0"] == fds["1"]
    assert fds["0"].startswith("socket:")
    assert fds["2"].startswith("pipe:")


def test_it_gets_the_descriptors_that_are_passed(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        program = children.python(children.DESCRIBES_ITSELF)
        child = Child(ChildSpec("fake", program, {}, tmp_path, pass_fds=(writing,)))
        fds = described(child)["fds"]
        child.stop(PATIENT)
        child.close()
    finally:
        os.close(reading)
        os.close(writing)
    assert set(fds) == {"0", "1", "2", str(writing)}


def test_its_environment_is_exactly_what_it_was_given(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROXY_API_KEY", "sk-ours")
    about = described(start(children.DESCRIBES_ITSELF, env={"A": "1", "LC_ALL": "C.UTF-8"}))
    assert sorted(filter(None, about["environ"].split("\0"))) == ["A=1", "LC_ALL=C.UTF-8"]


def test_it_works_in_the_given_folder_and_its_files_are_private(
    start: Start, tmp_path: Path
) -> None:
    about = described(start(children.DESCRIBES_ITSELF))
    assert about["cwd"] == str(tmp_path)
    assert about["umask"] == 0o077


def test_neither_it_nor_its_plan_shows_its_environment(start: Start, tmp_path: Path) -> None:
    assert "sk-secret" not in repr(children.spec("", tmp_path, env={"KEY": "sk-secret"}))
    child = start(children.POLITE, env={"KEY": "sk-secret"})
    assert repr(child) == f"<Child fake pid={child.pid} running>"
    assert child.stop(PATIENT) == 0
    assert repr(child) == f"<Child fake pid={child.pid} exit=0>"


# How it ends


@pytest.mark.parametrize("code", [0, 3])
def test_its_exit_code_is_known(start: Start, code: int) -> None:
    child = start(f"raise SystemExit({code})")
    assert child.wait(DEADLINE_S) == code
    assert child.exit_code == code
    assert not is_known(child.pid)


def test_the_signal_that_ended_it_is_known(start: Start) -> None:
    child = start("import os; os.kill(os.getpid(), 9)")
    assert child.wait(DEADLINE_S) == -signal.SIGKILL


def test_waiting_for_one_that_runs_gives_up_in_time(start: Start) -> None:
    child = start(children.POLITE)
    assert child.wait(SHORT_S) is None
    assert child.exit_code is None


def test_eof_is_enough_for_a_polite_child(start: Start) -> None:
    child = start(children.POLITE)
    children.read_line(child)
    assert child.stop(PATIENT) == 0


def test_one_that_ignores_eof_gets_a_term(start: Start) -> None:
    child = start(children.IGNORES_EOF)
    children.read_line(child)
    assert child.stop(StopLadder(SHORT_S, DEADLINE_S, DEADLINE_S)) == -signal.SIGTERM


def test_one_that_ignores_both_is_killed(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    child = start(children.IGNORES_EOF_AND_TERM)
    children.read_line(child)
    assert child.stop(StopLadder(SHORT_S, SHORT_S, DEADLINE_S)) == -signal.SIGKILL
    assert [record.getMessage() for record in caplog.records] == ["child_killed"]


def test_stopping_one_that_is_gone_returns_how_it_went(start: Start) -> None:
    child = start("raise SystemExit(5)")
    assert child.wait(DEADLINE_S) == 5
    assert child.stop(PATIENT) == 5
    child.kill()
    child.send_eof()


def test_its_helpers_end_with_it(start: Start) -> None:
    child = start(children.HAS_A_HELPER)
    helper = int(children.read_line(child))
    assert is_running(helper)
    assert child.stop(PATIENT) == 0
    eventually(lambda: not is_running(helper))


def test_a_kill_ends_its_helpers_too(start: Start) -> None:
    child = start(children.HAS_A_HELPER)
    helper = int(children.read_line(child))
    child.kill()
    assert child.wait(DEADLINE_S) == -signal.SIGKILL
    eventually(lambda: not is_running(helper))


def test_one_that_is_blocked_on_a_full_stdout_still_exits_while_it_is_read(start: Start) -> None:
    child = start(children.WRITES_MUCH_AT_THE_END)
    children.read_line(child)
    reading = in_background(children.read_to_end, child.socket)
    assert child.stop(PATIENT) == 0
    assert result(reading) == 4_000_000


def test_one_that_nobody_reads_is_ended_all_the_same(start: Start) -> None:
    child = start(children.WRITES_MUCH_AT_THE_END)
    children.read_line(child)
    code = child.stop(StopLadder(SHORT_S, DEADLINE_S, DEADLINE_S))
    assert code == -signal.SIGTERM


INTERMEDIATE = f"""
import gevent
from pathlib import Path
from app.process.child import Child
from tests.fakes import children
child = Child(children.spec(children.IGNORES_EOF_AND_TERM, Path("/")))
children.read_line(child)
print(child.pid, flush=True)
gevent.sleep({DEADLINE_S * 10})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")
def test_it_does_not_outlive_a_killed_worker_even_if_it_ignores_eof() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERMEDIATE], cwd=ROOT, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        with deadline():
            pid = int(worker.stdout.readline())
        assert is_running(pid)
        worker.kill()
        with deadline():
            worker.wait()
        eventually(lambda: not is_running(pid))


# What it says on stderr


def test_a_talkative_stderr_does_not_block_it(start: Start) -> None:
    child = start('import sys; sys.stderr.write("x" * 1_000_000)\n' + children.POLITE)
    assert children.read_line(child) == "ready"
    assert child.stop(PATIENT) == 0


def test_stderr_is_classified_and_its_text_never_logged(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"thread 'main' panicked at {CANARY}", f"WARN {CANARY} ✓", CANARY]
    with caplog.at_level(logging.DEBUG):
        child = start(f"import sys; sys.stderr.buffer.write({chr(10).join(lines).encode()!r})")
        assert child.wait(DEADLINE_S) == 0
        child.close()
    records = [record for record in caplog.records if record.getMessage() == "child_stderr"]
    categories = [(vars(record)["category"], record.levelname) for record in records]
    assert categories == [("panic", "ERROR"), ("warning", "INFO"), ("unclassified", "DEBUG")]
    assert vars(records[1])["size"] == len(lines[1].encode()) + 1
    assert vars(records[0])["pid"] == child.pid
    assert all(CANARY not in str(vars(record)) for record in caplog.records)


# What cannot be started, and what is left over


@pytest.mark.parametrize(
    ("argv", "cwd", "error"),
    [
        (("/nonexistent/codex",), Path("/"), FileNotFoundError),
        (("/etc/passwd",), Path("/"), PermissionError),
        (("/bin/true",), Path("/nonexistent"), FileNotFoundError),
    ],
)
def test_what_cannot_be_started_is_an_os_error_and_leaves_no_descriptor(
    argv: tuple[str, ...], cwd: Path, error: type[OSError]
) -> None:
    plan = ChildSpec("fake", argv, {}, cwd)
    with pytest.raises(error):  # the first one also opens what gevent keeps for good
        Child(plan)
    before = open_descriptors()
    for _ in range(5):
        with pytest.raises(error):
            Child(plan)
    assert open_descriptors() == before


def test_twenty_children_leave_no_descriptor(tmp_path: Path) -> None:
    before: list[str] = []
    for round_number in range(21):
        if round_number == 1:  # the first one also opens what gevent keeps for good
            before = open_descriptors()
        child = Child(children.spec(children.POLITE, tmp_path))
        children.read_line(child)
        assert child.stop(PATIENT) == 0
        child.close()
        assert not is_known(child.pid)
    assert open_descriptors() == before


def open_descriptors() -> list[str]:
    return sorted(str(path) for path in Path("/proc/self/fd").iterdir())


def test_a_helper_that_keeps_stderr_open_does_not_hold_us_up(tmp_path: Path) -> None:
    child = Child(children.spec(children.HAS_A_HELPER_ELSEWHERE, tmp_path))
    helper = int(children.read_line(child))
    try:
        assert child.stop(PATIENT) == 0
        assert is_running(helper)  # out of reach: a session of its own
        with deadline():
            child.close()
    finally:
        os.kill(helper, signal.SIGKILL)
