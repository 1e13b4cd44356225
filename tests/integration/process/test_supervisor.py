"""The supervisor over real processes: it keeps one alive, whatever happens to it."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import NoReturn

import gevent
import pytest
from gevent.event import Event
from gevent.subprocess import TimeoutExpired

from app.process.child import Child, ChildSpec
from app.process.lifecycle import BackoffPolicy, LastExit, State
from app.process.supervisor import Supervisor
from tests.fakes import children
from tests.fakes.supervised_process import FAST, FOREVER, SHORT_S, Make, SupervisedProcess
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, in_background, is_known, result


def refuse(_: Child) -> NoReturn:
    raise EOFError("not the answer we hoped for")


# Ready, and ready again


def test_it_is_ready_after_the_handshake_and_not_before(supervised: SupervisedProcess) -> None:
    states: list[State] = []
    supervised.handshake = lambda _: states.append(supervised.supervisor.lifecycle.state)
    supervisor = supervised.run_until_ready()
    assert states == [State.STARTING]
    assert supervisor.lifecycle.state is State.READY
    assert (supervisor.lifecycle.failures, supervisor.lifecycle.restarts) == (0, 0)
    assert supervisor.last_exit is None
    assert supervised.born == [supervised.pid]


def test_waiting_for_a_child_that_never_gets_ready_gives_up(make: Make) -> None:
    supervised = make(FOREVER)
    supervised.handshake = refuse
    assert not supervised.run().wait_ready(SHORT_S)


def test_a_killed_child_is_started_again(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    first = supervised.pid
    os.kill(first, signal.SIGKILL)
    eventually(lambda: supervisor.lifecycle.restarts == 1)
    assert supervisor.wait_ready(DEADLINE_S)
    assert supervised.pid != first
    assert not is_known(first)
    assert supervisor.last_exit == LastExit(-signal.SIGKILL, "exited")
    assert supervisor.lifecycle.failures == 1
    assert supervised.detached == {first: 1}


def test_each_crash_counts_until_a_child_was_stable(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    for crash in range(1, 4):
        os.kill(supervised.pid, signal.SIGKILL)
        eventually(lambda crash=crash: len(supervised.born) == crash + 1)  # type: ignore[misc]
        assert supervisor.wait_ready(DEADLINE_S)
        assert (supervisor.lifecycle.failures, supervisor.lifecycle.restarts) == (crash, crash)


def test_a_stable_child_is_forgiven_its_past(make: Make) -> None:
    supervised = make(BackoffPolicy(initial_ms=10, maximum_ms=40, stable_s=0))
    supervisor = supervised.run_until_ready()
    for crash in range(1, 4):
        os.kill(supervised.pid, signal.SIGKILL)
        eventually(lambda crash=crash: len(supervised.born) == crash + 1)  # type: ignore[misc]
        assert supervisor.wait_ready(DEADLINE_S)
        assert (supervisor.lifecycle.failures, supervisor.lifecycle.restarts) == (1, crash)


def test_a_child_that_leaves_by_itself_is_started_again(supervised: SupervisedProcess) -> None:
    supervised.program = 'print("ready", flush=True); raise SystemExit(3)'
    supervisor = supervised.run()
    eventually(lambda: supervisor.lifecycle.restarts >= 2)
    assert supervisor.last_exit == LastExit(3, "exited")


def test_a_recycled_child_is_replaced(
    supervised: SupervisedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = supervised.run_until_ready()
    first = supervised.pid
    supervisor.restart("probe_failed")
    supervisor.restart("pipe_closed")  # what follows from the first
    eventually(lambda: len(supervised.born) == 2)
    assert supervisor.wait_ready(DEADLINE_S)
    assert supervisor.last_exit == LastExit(-signal.SIGKILL, "exited")
    assert supervised.detached == {first: 1}
    (record,) = [one for one in caplog.records if one.getMessage() == "child_recycled"]
    assert vars(record)["reason"] == "probe_failed"


def test_recycling_without_a_child_does_nothing(make: Make) -> None:
    supervised = make(FOREVER)
    supervised.supervisor.restart("probe_failed")
    supervised.start_error = FileNotFoundError()
    supervisor = supervised.run()
    eventually(lambda: supervisor.lifecycle.state is State.BACKING_OFF)
    supervisor.restart("probe_failed")
    assert supervisor.lifecycle.failures == 1


# What goes wrong at the start


def test_a_handshake_that_raises_is_tried_again(supervised: SupervisedProcess) -> None:
    supervised.handshake = refuse
    supervisor = supervised.run()
    eventually(lambda: supervisor.lifecycle.restarts >= 2)
    assert supervisor.last_exit is not None
    assert supervisor.last_exit.reason == "handshake_failed"
    assert not supervisor.lifecycle.is_ready
    supervised.handshake = lambda _: None
    assert supervisor.wait_ready(DEADLINE_S)
    assert set(supervised.detached) == set()  # there was never a conversation to leave


def test_a_handshake_that_hangs_fails_by_its_own_deadline(supervised: SupervisedProcess) -> None:
    supervised.program = 'print("ready", flush=True)\n' + children.NEVER_SPEAKS

    def hang(child: Child) -> None:
        with gevent.Timeout(SHORT_S, TimeoutError("it said nothing")):
            child.socket.recv(1)

    supervised.handshake = hang
    supervisor = supervised.run()
    eventually(lambda: supervisor.lifecycle.restarts >= 1)
    assert supervisor.last_exit == LastExit(0, "handshake_failed", "it said nothing")


def test_a_child_that_dies_in_the_handshake_is_tried_again(supervised: SupervisedProcess) -> None:
    def die(child: Child) -> None:
        os.kill(child.pid, signal.SIGKILL)
        refuse(child)

    supervised.handshake = die
    supervisor = supervised.run()
    eventually(lambda: supervisor.lifecycle.restarts >= 1)
    assert supervisor.last_exit == LastExit(
        -signal.SIGKILL, "handshake_failed", "not the answer we hoped for"
    )


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError("codex"), PermissionError(), ValueError("x"), TimeoutExpired("codex", 1)],
)
def test_what_cannot_be_prepared_is_a_named_reason(
    supervised: SupervisedProcess, error: Exception
) -> None:
    supervised.start_error = error
    supervisor = supervised.run()
    eventually(lambda: supervisor.lifecycle.restarts >= 1)
    assert supervisor.last_exit == LastExit(None, "start_failed", str(error))
    assert supervised.born == []
    supervised.start_error = None
    assert supervisor.wait_ready(DEADLINE_S)


def test_after_five_failures_it_is_degraded_says_so_once_and_goes_on(
    supervised: SupervisedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    supervised.start_error = FileNotFoundError()
    supervisor = supervised.run()
    eventually(lambda: supervisor.lifecycle.failures >= 4)
    eventually(lambda: supervisor.lifecycle.is_degraded)
    assert supervisor.lifecycle.failures == 5
    eventually(lambda: supervisor.lifecycle.failures >= 8)
    supervised.start_error = None
    assert supervisor.wait_ready(DEADLINE_S)
    assert not supervisor.lifecycle.is_degraded
    assert supervisor.lifecycle.backoff_ms == 0
    critical = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert [record.getMessage() for record in critical] == ["child_degraded"]
    assert vars(critical[0])["failures"] == 5


def test_the_backoff_grows_to_its_maximum_and_is_shown(
    supervised: SupervisedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    supervised.start_error = FileNotFoundError()
    supervisor = supervised.run()
    eventually(lambda: supervisor.lifecycle.failures >= 4)
    failures = [one for one in caplog.records if one.getMessage() == "child_exited"]
    assert [vars(one)["backoff_ms"] for one in failures[:4]] == [10, 20, 40, 40]


# Stopping


def test_stopping_a_ready_one_ends_its_child_politely(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    pid = supervised.pid
    with deadline():
        supervisor.stop()
    assert not is_known(pid)
    assert supervisor.lifecycle.state is State.STOPPED
    assert supervisor.last_exit is None
    assert supervised.detached == {pid: 1}
    assert not supervisor.wait_ready(0)


def test_stopping_while_backing_off_does_not_wait_for_its_end(make: Make) -> None:
    supervised = make(FOREVER)
    supervised.start_error = FileNotFoundError()
    supervisor = supervised.run()
    eventually(lambda: supervisor.backoff_until is not None)
    with deadline():
        supervisor.stop()
    assert supervisor.lifecycle.state is State.STOPPED
    assert supervisor.backoff_until is None


def test_stopping_before_it_ran_keeps_it_from_running(supervised: SupervisedProcess) -> None:
    supervisor = supervised.supervisor
    with deadline():
        supervisor.stop()
    supervised.run()
    assert supervised.running is not None
    assert result(supervised.running) is None
    assert supervised.born == []


def test_stopping_twice_and_from_two_sides_is_one_stop(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    pid = supervised.pid
    stops = [in_background(supervisor.stop) for _ in range(3)]
    assert [result(stop) for stop in stops] == [None] * 3
    with deadline():
        supervisor.stop()
    assert supervised.detached == {pid: 1}


def test_a_stop_overtakes_a_crash(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    os.kill(supervised.pid, signal.SIGKILL)
    with deadline():
        supervisor.stop()
    assert supervisor.lifecycle.state is State.STOPPED
    assert len(supervised.born) == 1


def test_it_shows_its_state(supervised: SupervisedProcess) -> None:
    assert repr(supervised.supervisor) == "<Supervisor fake STOPPED child=None>"
    supervisor = supervised.run_until_ready()
    assert (
        repr(supervisor)
        == f"<Supervisor fake READY child=<Child fake pid={supervised.pid} running>>"
    )


def test_stopping_while_starting_ends_the_child(supervised: SupervisedProcess) -> None:
    supervised.program = 'print("ready", flush=True)\n' + children.NEVER_SPEAKS
    shaking = Event()

    def until_the_child_leaves(child: Child) -> None:
        shaking.set()
        assert child.socket.recv(1) == b""
        refuse(child)

    supervised.handshake = until_the_child_leaves
    supervisor = supervised.run()
    with deadline():
        shaking.wait()
        supervisor.stop()
    assert supervisor.lifecycle.state is State.STOPPED
    assert not is_known(supervised.born[0])


def test_stopping_while_preparing_starts_no_child(tmp_path: Path) -> None:
    preparing, go = Event(), Event()

    def prepare() -> ChildSpec:
        preparing.set()
        go.wait()
        return children.spec(children.POLITE, tmp_path)

    born: list[Child] = []

    def attach(child: Child) -> NoReturn:
        born.append(child)
        refuse(child)

    supervisor = Supervisor("fake", FAST, prepare=prepare, attach=attach)
    running = in_background(supervisor.run)
    with deadline():
        preparing.wait()
    stopping = in_background(supervisor.stop)
    eventually(supervisor._stopping.is_set)
    go.set()
    assert (result(stopping), result(running), born) == (None, None, [])
