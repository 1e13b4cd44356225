"""A child that takes the place of another: there is always one that serves, and the old one may finish."""

from __future__ import annotations

import os
import signal

import gevent
import pytest
from gevent.event import Event

from app.process.child import Child
from app.process.lifecycle import LastExit, State
from tests.fakes import children
from tests.fakes.supervised_process import FOREVER, Make, SupervisedProcess
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, is_known


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    return [vars(one) for one in caplog.records if one.getMessage() == name]


def test_the_new_one_serves_before_the_old_one_goes(
    supervised: SupervisedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    supervisor = supervised.run_until_ready()
    reasons: list[str] = []
    supervisor.on_replaced = reasons.append
    old = supervised.pid
    seen: list[tuple[bool, int]] = []
    supervised.handshake = lambda _: seen.append((supervisor.wait_ready(0), supervised.pid))
    supervised.is_busy.set()
    assert supervisor.replace("memory")
    eventually(lambda: supervised.pid != old)
    assert seen == [(True, old)]  # while the new one shook hands
    assert supervisor.wait_ready(0)
    assert (supervisor.retiring, is_known(old)) == (1, True)
    supervised.is_busy.clear()
    eventually(lambda: supervisor.retiring == 0)
    assert not is_known(old)
    assert supervised.detached == {old: 1}
    assert (reasons, supervisor.lifecycle.restarts, supervisor.lifecycle.failures) == (
        ["memory"],
        0,
        0,
    )
    (line,) = events(caplog, "child_replaced")
    assert (line["reason"], line["pid"]) == ("memory", old)
    (line,) = events(caplog, "child_retired")
    assert (line["pid"], line["exit_code"]) == (old, 0)


def test_one_at_a_time(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    supervised.is_busy.set()
    old = supervised.pid
    assert supervisor.replace("memory")
    assert not supervisor.replace("login")  # asked for, not yet begun
    eventually(lambda: supervised.pid != old)
    assert not supervisor.replace("login")  # the old one still finishes
    assert supervisor.replace("login", is_useless=True)
    eventually(lambda: len(supervised.born) == 3 and supervisor.retiring == 2)
    supervised.is_busy.clear()
    eventually(lambda: supervisor.retiring == 0)
    assert supervisor.replace("login")
    eventually(lambda: len(supervised.born) == 4)


def test_what_is_asked_for_during_a_replacement_is_not_another(
    supervised: SupervisedProcess,
) -> None:
    supervisor = supervised.run_until_ready()
    old = supervised.pid
    asked: list[bool] = []
    supervised.handshake = lambda _: asked.append(supervisor.replace("login"))
    assert supervisor.replace("login")
    eventually(lambda: supervised.pid != old)
    eventually(lambda: supervisor.retiring == 0)
    assert (asked, len(supervised.born)) == ([False], 2)


def test_without_a_ready_child_there_is_nothing_to_replace(make: Make) -> None:
    supervised = make(FOREVER)
    assert not supervised.supervisor.replace("memory")
    supervised.start_error = FileNotFoundError()
    supervisor = supervised.run()
    eventually(lambda: supervisor.lifecycle.state is State.BACKING_OFF)
    assert not supervisor.replace("memory")


@pytest.mark.parametrize("where", ["start", "handshake"])
def test_a_new_one_that_does_not_start_leaves_the_old_one(
    supervised: SupervisedProcess, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = supervised.run_until_ready()
    old = supervised.pid
    if where == "start":
        supervised.start_error = FileNotFoundError("codex")
    else:
        supervised.handshake = _refuse
    assert supervisor.replace("memory")
    eventually(lambda: events(caplog, "child_not_replaced"))
    assert (supervised.pid, supervisor.wait_ready(0), supervisor.lifecycle.failures) == (
        old,
        True,
        0,
    )
    assert not supervisor.replace("memory")  # not again at once
    assert [pid for pid in supervised.born if is_known(pid)] == [old]


def _refuse(_: Child) -> None:
    raise EOFError("not the answer we hoped for")


def test_an_old_one_that_dies_meanwhile_is_no_failure(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    old = supervised.pid

    def kill_the_old_one(_: Child) -> None:
        os.kill(old, signal.SIGKILL)
        supervisor.restart("pipe_closed")  # as the owner of the pipe does
        eventually(lambda: not is_known(old))

    supervised.handshake = kill_the_old_one
    supervisor.replace("memory")
    eventually(lambda: supervised.detached == {old: 1})
    assert supervisor.wait_ready(DEADLINE_S)
    assert (supervised.pid != old, supervisor.lifecycle.failures) == (True, 0)


def test_if_both_die_it_is_a_failure_like_any_other(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    old = supervised.pid

    def kill_both(child: Child) -> None:
        supervised.handshake = lambda _: None
        os.kill(old, signal.SIGKILL)
        os.kill(child.pid, signal.SIGKILL)
        raise EOFError

    supervised.handshake = kill_both
    supervisor.replace("memory")
    eventually(lambda: supervisor.lifecycle.failures == 1)
    assert supervisor.wait_ready(DEADLINE_S)
    assert supervisor.last_exit == LastExit(-signal.SIGKILL, "exited")


def test_a_new_one_that_crashes_later_is_started_again(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    supervised.is_busy.set()
    old = supervised.pid
    supervisor.replace("memory")
    eventually(lambda: supervised.pid != old)
    os.kill(supervised.pid, signal.SIGKILL)
    eventually(lambda: supervisor.lifecycle.restarts == 1)
    assert supervisor.wait_ready(DEADLINE_S)
    assert (supervisor.retiring, is_known(old)) == (1, True)  # it still finishes
    supervised.is_busy.clear()


def test_a_stop_ends_both(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    supervised.is_busy.set()
    old = supervised.pid
    supervisor.replace("memory")
    eventually(lambda: supervised.pid != old)
    with deadline():
        supervisor.stop()
    assert supervisor.lifecycle.state is State.STOPPED
    assert [pid for pid in supervised.born if is_known(pid)] == []
    assert sum(supervised.detached.values()) == 2


def test_a_stop_does_not_wait_for_a_handshake_beside(supervised: SupervisedProcess) -> None:
    supervisor = supervised.run_until_ready()
    supervised.program = 'print("ready", flush=True)\n' + children.NEVER_SPEAKS
    shaking = Event()

    def until_the_child_leaves(child: Child) -> None:
        shaking.set()
        assert child.socket.recv(1) == b""
        raise EOFError

    supervised.handshake = until_the_child_leaves
    supervisor.replace("memory")
    with deadline():
        shaking.wait()
        supervisor.stop()
    assert supervisor.lifecycle.state is State.STOPPED
    gevent.sleep(0)
    assert [pid for pid in supervised.born if is_known(pid)] == []
