"""Work that goes on although its caller was cut short."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event as Flag
from gevent.pool import Group

from app.backends.app_server.shielded import run_shielded
from tests.fakes.waiting import eventually, in_background, outcome


class Work:
    """Something that takes until it is told to end."""

    def __init__(self, error: Exception | None = None) -> None:
        self.group = Group()
        self.end = Flag()
        self.undone: list[str] = []
        self._error = error

    def do(self) -> str:
        self.end.wait()
        if self._error is not None:
            raise self._error
        return "result"

    def run_shielded(self) -> str:
        return run_shielded(self.group, self.do, self.undone.append)


def test_it_returns_what_the_work_returns() -> None:
    work = Work()
    work.end.set()
    assert work.run_shielded() == "result"
    assert work.undone == []


def test_it_raises_what_the_work_raises() -> None:
    work = Work(KeyError("x"))
    work.end.set()
    assert isinstance(outcome(work.run_shielded), KeyError)
    gevent.sleep(0)
    assert work.undone == []


def test_a_caller_that_is_cut_short_leaves_a_result_that_is_undone() -> None:
    work = Work()
    caller = in_background(work.run_shielded)
    eventually(lambda: len(work.group) == 1)
    caller.kill()
    assert work.undone == []
    work.end.set()
    eventually(lambda: work.undone)
    assert work.undone == ["result"]


def test_a_result_that_came_while_the_caller_was_cut_short_is_undone_too() -> None:
    work = Work()
    caller = in_background(work.run_shielded)
    eventually(lambda: len(work.group) == 1)
    work.end.set()
    caller.kill(block=False)
    eventually(lambda: work.undone)
    assert work.undone == ["result"]


@pytest.mark.parametrize("error", [None, KeyError("x")])
def test_a_failure_that_nobody_waits_for_is_silent(error: Exception | None) -> None:
    work = Work(error)
    caller = in_background(work.run_shielded)
    eventually(lambda: len(work.group) == 1)
    caller.kill()
    work.end.set()
    work.group.join()
    gevent.sleep(0)
    assert work.undone == ([] if error else ["result"])
