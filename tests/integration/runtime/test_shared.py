"""The shared memory, between real processes."""

import os
import signal
import struct
from collections.abc import Callable

import pytest

from app.http.maintenance_flag import Maintenance
from app.runtime.layout import (
    ELSEWHERE,
    LAYOUT,
    MAGIC,
    RecordOffset,
    ReloadRecord,
    ReloadState,
)
from app.runtime.shared import SharedState, new_memory

ROUNDS = 3000


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a fork; return its process id. A work that raises exits with 1."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def flag(number: int) -> Maintenance:
    return Maintenance(True, str(number) * 40, retry_after_s=number or None)


def test_fresh_memory_has_its_header_and_says_nothing() -> None:
    memory = new_memory()
    shared = SharedState(memory)
    assert bytes(memory[:8]) == MAGIC + struct.pack("=I", LAYOUT)
    assert (shared.serving, shared.stop_grace_ms) == (0, None)
    assert (shared.reload, shared.successor, shared.maintenance) == (None, None, None)


def test_what_a_fork_writes_is_seen_here_and_outlives_it() -> None:
    shared = SharedState(new_memory())

    def work() -> None:
        shared.serving = ELSEWHERE
        shared.begin_stop(0)
        shared.maintenance = flag(7)
        shared.successor = ReloadRecord(ReloadState.STARTING, 2, 1.0, "why")
        os.kill(os.getpid(), signal.SIGKILL)

    assert code_of(forked(work)) == -signal.SIGKILL
    assert shared.is_served_elsewhere
    assert shared.stop_grace_ms == 0
    assert shared.maintenance == flag(7)
    assert shared.successor == ReloadRecord(ReloadState.STARTING, 2, 1.0, "why")
    assert shared.reload is None


def test_two_views_of_one_memory_are_one_truth() -> None:
    memory = new_memory()
    one, other = SharedState(memory), SharedState(memory)
    one.reload = ReloadRecord(ReloadState.DONE, 3, 5.0)
    assert other.reload == ReloadRecord(ReloadState.DONE, 3, 5.0)


def test_private_memory_is_nobody_elses() -> None:
    one, other = SharedState.private(), SharedState.private()
    one.ready = 9
    assert other.ready == 0


def test_a_record_that_a_dead_process_left_half_written_is_none_until_the_next_write() -> None:
    shared = SharedState(new_memory())
    shared.maintenance = flag(1)
    shared.memory[RecordOffset.MAINTENANCE + 8 : RecordOffset.MAINTENANCE + 40] = b"x" * 32
    assert shared.maintenance is None
    shared.maintenance = flag(2)
    assert shared.maintenance == flag(2)


@pytest.mark.parametrize("writers", [1, 2])
def test_nobody_ever_reads_half_a_record(writers: int) -> None:
    shared = SharedState(new_memory())
    shared.maintenance = flag(0)

    def work() -> None:
        for number in range(ROUNDS):
            shared.maintenance = flag(number)

    pids = [forked(work) for _ in range(writers)]
    for _ in range(ROUNDS):
        seen = shared.maintenance
        assert seen is not None
        assert seen == flag(seen.retry_after_s or 0)
    assert [code_of(pid) for pid in pids] == [0] * writers
    assert shared.maintenance == flag(ROUNDS - 1)
