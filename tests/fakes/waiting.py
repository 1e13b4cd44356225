"""Waiting with a deadline, and looking at processes: what the integration tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
from gevent import socket

DEADLINE_S = 20.0
"""Long enough for a machine that is busy with everything else; reached only by a test that fails."""


@contextmanager
def deadline(seconds: float = DEADLINE_S) -> Iterator[None]:
    """Turn a block that would wait for ever into a failure."""
    with gevent.Timeout(seconds, AssertionError(f"nothing happened for {seconds:g} s")):
        yield


def eventually(
    condition: Callable[[], object],
    complaint: Callable[[], str] = lambda: "it never became true",
    *,
    within_s: float = DEADLINE_S,
) -> None:
    """Look at a condition that announces nothing, again and again, until it is true."""
    gevent.get_hub().loop.update_now()  # it stands still where a test has blocked the thread
    end = gevent.get_hub().loop.now() + within_s
    while not condition():
        gevent.get_hub().loop.update_now()
        assert gevent.get_hub().loop.now() < end, complaint()
        gevent.sleep(0.002)


def loop_has_looked() -> None:
    """Return once the event loop has told everybody what is readable now: then nothing more can come of it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b".")
        # The first look may call us before the others; whoever it woke has run by the third.
        for _ in range(3):
            socket.wait_read(ours.fileno())


def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the call returns or raises: for greenlets whose failure is part of the test."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001  (whatever it is, the test looks at it)
        return error


def in_background(function: Callable[..., Any], *arguments: Any) -> gevent.Greenlet[..., Any]:
    """Run the call in a greenlet of its own; `result` has its outcome."""
    return gevent.spawn(outcome, function, *arguments)


def result(greenlet: gevent.Greenlet[..., Any]) -> Any:
    """Wait for a call in the background; return what it returned or raised."""
    with deadline():
        return greenlet.get()


def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call something that blocks its thread, while the greenlets of this one go on."""
    return gevent.get_hub().threadpool.apply(function, arguments, named)


def is_running(pid: int) -> bool:
    """Say whether a process runs; one that is dead and not reaped yet (an orphan's fate) does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def is_known(pid: int) -> bool:
    """Say whether the kernel has any trace of a process, a zombie included."""
    return Path(f"/proc/{pid}").exists()
