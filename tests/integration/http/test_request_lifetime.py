"""The lifetime of a request over a real connection: what its end releases, and what a client that leaves interrupts."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from flask import Flask
from gevent import socket
from gevent.event import Event

from app.http import request_lifetime
from app.http.disconnect import ClientDisconnected, DisconnectWatcher
from app.observability.requests import RequestRecord
from app.pause import pause
from tests.fakes.waiting import (
    deadline,
    eventually,
    in_background,
    loop_has_looked,
    outcome,
    result,
)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the server's end, and the client's."""
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


class Site:
    """A WSGI application with a lifetime around it, and what became of its request."""

    def __init__(self, view: Callable[[Site], Iterable[bytes]], sock: socket.socket | None) -> None:
        self.counters: Counter[str] = Counter()
        self.ended: list[str] = []
        self.record = RequestRecord("req_1", "POST")
        self.waits = Event()
        self._view = view
        app = SimpleNamespace(wsgi_app=self._serve)
        request_lifetime.init_app(cast("Flask", app), self.counters)
        self._app: Any = app.wsgi_app
        self.environ: dict[str, Any] = {} if sock is None else {"gunicorn.socket": sock}

    def _serve(self, environ: dict[str, Any], _: Any) -> Iterable[bytes]:
        lifetime = request_lifetime.current_lifetime()
        lifetime.record = self.record
        lifetime.on_close(lambda: self.ended.append("first"))
        lifetime.on_close(lambda: self.ended.append("second"))
        return self._view(self)

    def call(self) -> Any:
        return self._app(self.environ, None)

    def wait(self) -> None:
        self.waits.set()
        gevent.sleep(60)


def drain(body: Any) -> list[bytes]:
    """Take the body as gunicorn does."""
    taken = []
    try:
        taken += list(body)
    finally:
        body.close()
    return taken


def test_what_was_taken_is_given_back_at_the_end_in_reverse_order(ends: Any) -> None:
    site = Site(lambda _: [b"a", b"b"], ends[0])
    body = site.call()
    assert site.ended == []
    assert drain(body) == [b"a", b"b"]
    assert site.ended == ["second", "first"]
    body.close()
    assert site.ended == ["second", "first"]
    assert (site.record.outcome, site.counters) == ("completed", Counter())


def test_a_body_that_was_never_begun_ends_too(ends: Any) -> None:
    site = Site(lambda _: [b"a"], ends[0])
    site.call().close()
    assert site.ended == ["second", "first"]
    assert site.record.outcome == "client_left"


def test_a_view_that_raises_ends_too(ends: Any) -> None:
    def view(_: Site) -> list[bytes]:
        raise KeyError("x")

    site = Site(view, ends[0])
    assert isinstance(outcome(site.call), KeyError)
    assert site.ended == ["second", "first"]


def test_a_killed_greenlet_ends_too(ends: Any) -> None:
    def view(site: Site) -> list[bytes]:
        site.wait()
        return []

    site = Site(view, ends[0])
    serving = in_background(site.call)
    site.waits.wait()
    serving.kill()
    assert site.ended == ["second", "first"]


def test_without_a_connection_nothing_is_watched() -> None:
    site = Site(lambda _: [b"a"], None)
    site.call().close()
    assert (site.record.outcome, site.counters) == ("completed", Counter())


def send_and_close(theirs: socket.socket) -> None:
    theirs.sendall(b"GET /")
    theirs.close()


LEAVINGS: dict[str, Callable[[socket.socket], None]] = {
    "closes": lambda theirs: theirs.close(),
    "closes its sending side": lambda theirs: theirs.shutdown(socket.SHUT_WR),
    "sends something and closes": send_and_close,
}


@pytest.mark.parametrize("how", LEAVINGS)
def test_a_client_that_leaves_interrupts_the_view(ends: Any, how: str) -> None:
    seen: list[str] = []

    def view(site: Site) -> list[bytes]:
        try:
            site.wait()
        except Exception:  # noqa: BLE001  (what must not catch it)
            seen.append("caught")
        except ClientDisconnected:
            seen.append("left")
            raise
        return []

    site = Site(view, ends[0])
    serving = in_background(site.call)
    site.waits.wait()
    LEAVINGS[how](ends[1])
    raised = result(serving)
    assert isinstance(raised, ConnectionResetError)
    assert raised.errno == errno.ECONNRESET
    assert seen == ["left"]
    assert site.ended == ["second", "first"]
    assert (site.record.outcome, site.record.status) == ("client_left", 499)
    assert site.record.is_written
    assert site.counters == {"client_left": 1}


def test_a_client_that_leaves_interrupts_the_body(ends: Any) -> None:
    def view(site: Site) -> Iterator[bytes]:
        yield b"a"
        site.wait()

    site = Site(view, ends[0])
    body = site.call()
    assert next(body) == b"a"
    rest = in_background(drain, body)
    site.waits.wait()
    ends[1].close()
    assert isinstance(result(rest), ConnectionResetError)
    assert (site.record.outcome, site.record.status) == ("client_left", 0)
    assert site.ended == ["second", "first"]
    assert site.counters == {"client_left": 1}


def test_bytes_sent_ahead_do_not_count_as_leaving(ends: Any) -> None:
    may_answer = Event()

    def view(site: Site) -> list[bytes]:
        site.waits.set()
        may_answer.wait()
        return [b"a"]

    site = Site(view, ends[0])
    serving = in_background(site.call)
    site.waits.wait()
    ends[1].sendall(b"POST /next HTTP/1.1\r\n")
    loop_has_looked()
    may_answer.set()
    assert drain(result(serving)) == [b"a"]
    assert site.record.outcome == "completed"


def test_while_the_server_writes_the_write_fails(ends: Any) -> None:
    """The greenlet is not ours then: an exception would come out of the middle of the server's code."""
    ours, theirs = ends
    site = Site(lambda _: [b"x" * 5_000_000], ours)
    body = site.call()

    def serve() -> None:
        try:
            for item in body:
                ours.sendall(item)
        finally:
            body.close()

    writing = in_background(serve)
    gevent.sleep(0)
    theirs.shutdown(socket.SHUT_WR)  # it does not read, and is still there
    raised = result(writing)
    assert isinstance(raised, OSError)
    assert raised.errno == errno.EPIPE
    assert site.record.outcome == "client_left"
    assert site.ended == ["second", "first"]


def test_a_client_that_left_during_a_write_gets_no_further_item(ends: Any) -> None:
    made: list[int] = []

    def view(_: Site) -> Iterator[bytes]:
        for number in range(3):
            made.append(number)
            yield b"x"

    site = Site(view, ends[0])
    body = site.call()
    next(body)
    ends[1].close()
    loop_has_looked()
    assert isinstance(outcome(next, body), ConnectionResetError)
    body.close()
    assert made == [0]


def test_why_a_connection_was_cut_is_the_outcome(ends: Any) -> None:
    site = Site(lambda _: [b"a", b"b"], None)
    site.environ["gunicorn.socket"] = SimpleNamespace(
        fileno=ends[0].fileno, cut_reason="slow_reader"
    )
    body = site.call()
    next(body)
    body.close()
    assert site.record.outcome == "slow_reader"
    assert site.counters == {"slow_reader": 1}


def test_an_answer_that_failed_before_stays_failed(ends: Any) -> None:
    site = Site(lambda _: [b"a", b"b"], ends[0])
    site.record.outcome = "failed"
    site.call().close()
    assert site.record.outcome == "failed"


# The watcher alone


def test_nobody_is_told_after_the_watch_is_over(ends: Any) -> None:
    watcher = DisconnectWatcher()
    told: list[str] = []
    watcher.add(ends[0].fileno(), lambda: told.append("gone"))
    watcher.remove(ends[0].fileno())
    watcher.remove(ends[0].fileno())
    ends[1].close()
    loop_has_looked()
    assert told == []
    assert repr(watcher) == "<DisconnectWatcher watching=0>"


def test_who_has_left_already_is_told_at_once_and_once(ends: Any) -> None:
    watcher = DisconnectWatcher()
    told: list[str] = []
    ends[1].close()
    watcher.add(ends[0].fileno(), lambda: told.append("gone"))
    with deadline():
        eventually(lambda: told)
    loop_has_looked()
    assert told == ["gone"]
    watcher.remove(ends[0].fileno())


def test_one_that_leaves_may_end_the_watch_of_another() -> None:
    watcher = DisconnectWatcher()
    pairs = [socket.socketpair() for _ in range(2)]
    told: list[int] = []

    def gone(number: int) -> None:
        told.append(number)
        for ours, _ in pairs:
            watcher.remove(ours.fileno())

    for number, (ours, theirs) in enumerate(pairs):
        theirs.close()
        watcher.add(ours.fileno(), lambda number=number: gone(number))  # type: ignore[misc]
    eventually(lambda: told)
    loop_has_looked()
    assert len(told) == 1
    for ours, _ in pairs:
        ours.close()


@pytest.mark.skipif(not DisconnectWatcher.is_supported, reason="Linux only")
def test_many_that_leave_at_once_do_not_hold_up_the_loop() -> None:
    watcher, seen = DisconnectWatcher(), list[str]()
    pairs = [socket.socketpair() for _ in range(100)]
    for server, _ in pairs:
        watcher.add(server.fileno(), lambda: seen.append("left"))

    def others() -> None:
        while True:
            seen.append("other")
            pause()

    going_on = in_background(others)
    for _, client in pairs:
        client.close()
    eventually(lambda: seen.count("left") == len(pairs))
    going_on.kill()
    for server, _ in pairs:
        server.close()
    assert "other" in seen[seen.index("left") : -seen[::-1].index("left")]
