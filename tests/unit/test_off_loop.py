import gc
import threading
import weakref
from contextlib import suppress
from typing import Any

import gevent
import pytest
from gevent.event import Event

from app.off_loop import OffLoop


def test_a_function_runs_in_another_thread() -> None:
    here = threading.get_ident()
    assert OffLoop().run("a", threading.get_ident) != here
    assert OffLoop().run("a", int, "11", base=2) == 3


def test_what_it_raises_is_raised_and_printed_nowhere() -> None:
    with pytest.raises(KeyError):  # conftest sees to it that nothing is printed
        OffLoop().run("a", dict[str, int]().__getitem__, "x")


def test_an_error_holds_nothing_of_what_was_called() -> None:
    class Body:
        """What a caller has sent."""

    def refuse(_: Body) -> None:
        raise ValueError

    body = Body()
    alive = weakref.ref(body)
    gc.disable()
    try:
        with suppress(ValueError):
            OffLoop().run("a", refuse, body)
        del body
        gevent.sleep(0)  # the thread's own words for it
        assert alive() is None
    finally:
        gc.enable()


def test_other_greenlets_run_meanwhile() -> None:
    done = threading.Event()
    running = gevent.spawn(OffLoop().run, "a", done.wait, 30)
    gevent.spawn(done.set)
    assert running.get(timeout=30) is True


class Stage:
    """A thread that is taken until `go`; who asks for it meanwhile is noted when it is served."""

    def __init__(self) -> None:
        self.off_loop = OffLoop()
        self.served: list[str] = []
        self._gate = threading.Event()
        self._jobs = [self.ask("first", self._gate.wait)]

    def ask(self, owner: str, function: Any = int) -> Any:
        def run() -> None:
            self.off_loop.run(owner, function)
            self.served.append(owner)

        job = gevent.spawn(run)
        gevent.idle()
        return job

    def wait_for(self, *owners: str) -> list[Any]:
        jobs = [self.ask(owner) for owner in owners]
        self._jobs += jobs
        return jobs

    def go(self) -> list[str]:
        self._gate.set()
        gevent.joinall(self._jobs, timeout=30, raise_error=False)
        return self.served[1:]


def test_owners_take_turns() -> None:
    stage = Stage()
    stage.wait_for("a", "a", "a", "b", "c", "b")
    assert stage.go() == ["a", "b", "c", "a", "b", "a"]


def test_who_gives_up_is_in_nobodys_way() -> None:
    stage = Stage()
    gone, *_ = stage.wait_for("a", "b", "a")
    gone.kill()
    assert stage.go() == ["a", "b"]
    assert "IDLE waiting=0" in repr(stage.off_loop)


def test_a_call_that_nobody_waits_for_any_more_still_keeps_the_thread() -> None:
    off_loop, gate, ended = OffLoop(), threading.Event(), Event()
    left = gevent.spawn(off_loop.run, "a", gate.wait, 30)
    gevent.idle()
    left.kill()
    next_one = gevent.spawn(off_loop.run, "b", int)
    next_one.link(lambda _: ended.set())
    gevent.idle()
    assert not ended.is_set()
    gate.set()
    assert next_one.get(timeout=30) == 0
