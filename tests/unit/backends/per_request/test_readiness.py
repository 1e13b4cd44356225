"""Whether a process could be started lately: only starts tell, and of many that fail at once the first one does."""

from __future__ import annotations

import logging
import time

import gevent
import pytest

from app.backends.per_request.readiness import Readiness
from app.process.lifecycle import DEGRADED_AFTER, BackoffPolicy, LastExit, State

BROKEN = LastExit(3, "handshake_failed", "it said: no")


def make() -> Readiness:
    return Readiness(BackoffPolicy(1, 2))


def reason_of(readiness: Readiness) -> str | None:
    return readiness.unready_reason(is_draining=False, lacks_login=False, renewal=None)


def test_it_is_ready_from_the_first_start_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    readiness = make()
    assert not readiness.wait(0)
    readiness.start()
    assert reason_of(readiness) == "starting"
    readiness.succeeded(12, 34, "1.2.3")
    readiness.succeeded(56, 78, "1.2.3")
    assert readiness.wait(0)
    assert reason_of(readiness) is None
    assert readiness.handshake_ms == 56
    assert [record.message for record in caplog.records] == ["child_ready"]


def test_the_first_of_many_failures_tells_all(caplog: pytest.LogCaptureFixture) -> None:
    readiness = make()
    readiness.start()
    readiness.succeeded(12, 34, "1.2.3")
    assert [readiness.failed(BROKEN) for _ in range(3)] == [True, False, False]
    assert not readiness.wait(0)
    assert (readiness.is_backing_off, reason_of(readiness)) == (True, "backoff")
    assert readiness.last_exit == BROKEN
    assert readiness.lifecycle.failures == 1
    readiness.succeeded(12, 34, "1.2.3")  # one that was begun before
    assert not readiness.wait(0)
    assert readiness.await_backoff()
    assert readiness.lifecycle.state is State.STARTING
    assert [record.message for record in caplog.records] == ["child_exited"]


def test_a_stop_in_the_moment_in_which_the_backoff_ends_is_a_stop() -> None:
    stopped = 0
    for _ in range(120):  # gevent looks at timers first once in 50 times
        readiness = Readiness(BackoffPolicy(1, 1))
        readiness.start()
        readiness.failed(BROKEN)
        waiting = gevent.spawn(readiness.await_backoff)
        gevent.sleep(0)
        time.sleep(0.002)  # the loop finds both at once: the end of the wait, and the stop
        readiness.stop()
        waiting.join()
        assert waiting.successful()
        # Where other processes hold this one up, the wait is over before it begins, and a start is what is stopped.
        assert readiness.lifecycle.state is (State.DRAINING if waiting.value else State.STOPPED)
        stopped += not waiting.value
    assert stopped


def test_a_row_of_failures_is_degraded_and_ends_with_a_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    readiness = make()
    readiness.start()
    for _ in range(DEGRADED_AFTER):
        assert readiness.failed(BROKEN)
        assert readiness.await_backoff()
    assert reason_of(readiness) == "degraded"
    assert [record.message for record in caplog.records][-1] == "child_degraded"
    readiness.succeeded(12, 34, "1.2.3")
    assert reason_of(readiness) is None
    assert readiness.lifecycle.restarts == DEGRADED_AFTER


def test_nothing_begins_once_it_is_stopped() -> None:
    readiness = make()
    readiness.start()
    readiness.succeeded(12, 34, "1.2.3")
    readiness.stop()
    readiness.stop()
    assert (readiness.wait(0), readiness.is_stopped) == (False, True)
    assert not readiness.failed(BROKEN)
    states = [readiness.lifecycle.state]
    readiness.finish()
    states.append(readiness.lifecycle.state)
    assert states == [State.DRAINING, State.STOPPED]


def test_a_stop_ends_the_backoff() -> None:
    readiness = Readiness(BackoffPolicy(60_000, 60_000))
    readiness.start()
    readiness.failed(BROKEN)
    readiness.stop()
    assert not readiness.await_backoff()
    assert readiness.lifecycle.state is State.STOPPED
