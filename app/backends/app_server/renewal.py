"""Renewal of a ChatGPT login by codex: which child may be at it, that it is only one, and that it comes in time.

codex renews an access token in `initialize` once it is due, and in a turn, where it gives up after five seconds. The
token that it renews with is good for one use: a renewal that is broken off has destroyed the login, and so have two at
once. Hence a child that may be renewing is spared whatever limit it breaks; one child at a time has the lock for it;
and the child that serves is asked to renew before the login is due, so that no turn has to.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import gevent

from app.codex.auth_file import LoginMark
from app.codex.login import Login
from app.codex.renewal_lock import RenewalLock
from app.rpc.errors import RpcError

log = logging.getLogger("codex_api.codex")

RENEWAL_S = 300.0
"""How long a renewal may take before it is said to hang. codex itself gives up after about 40 s."""

_AHEAD_S = 600.0
_PAUSE_S = 30.0
_POLL_S = 0.25


class Renewing(Protocol):
    """The child that is asked to renew. `login` is what it was started with."""

    login: LoginMark | None
    is_renewing: bool

    def renew_login(self) -> None:
        """Let codex renew its login. Blocks as long as that takes; raises `RpcError`."""


class Renewal:
    """Renewals of one worker's children."""

    def __init__(self, login: Login, lock: Path) -> None:
        self._login = login
        self._path = lock
        self._start_lock = RenewalLock(lock)
        self._since: float | None = None
        self._hanging: gevent.Greenlet[[], None] | None = None
        self._not_before = 0.0

    @property
    def reason(self) -> str | None:
        """What operators read while a child may be renewing, or waits for another one that may."""
        if self._since is None:
            return None
        is_late = time.monotonic() - self._since >= RENEWAL_S
        return "login_renewal_hangs" if is_late else "login_renewal"

    # In the start of a child

    @property
    def is_starting(self) -> bool:
        """True while a child that was started with a due login may be renewing it."""
        return self._start_lock.is_held and self._login.is_due()

    def begin_start(self) -> None:
        """Block while another child may be renewing; from now on the one that is started next may."""
        if not self._login.is_due():
            return
        self._begin()
        log.warning("login_renewal", extra={"meaning": "codex renews its login before it serves."})
        while self._login.is_due() and not self._start_lock.try_acquire():
            gevent.sleep(_POLL_S)

    def end_start(self, *, is_done: bool) -> None:
        """The child has shaken hands (`is_done`), or is gone. Idempotent."""
        self._end()
        if self._start_lock.is_held:
            self._start_lock.release()
            if is_done:
                self._judge(is_renewed=not self._login.is_due())

    # In the life of a child

    def keep(self, child: Renewing, interval_s: float, is_serving: Callable[[], bool]) -> None:
        """Renew the login through this child whenever it will soon be due. Blocks for as long as the child lives."""
        while True:
            if is_serving():
                self.renew(child)
            gevent.sleep(interval_s)

    @property
    def is_wanted(self) -> bool:
        """True if the login will soon be due and can be renewed, and that was not tried a moment ago."""
        login = self._login
        return (
            login.is_due(_AHEAD_S)
            and login.mark is not None
            and not login.is_read_only
            and not login.is_spent
            and time.monotonic() >= self._not_before
        )

    def renew(self, child: Renewing) -> None:
        """Renew the login if it will soon be due. Blocks, and does nothing while another child may be renewing."""
        login, mark = self._login, child.login
        # codex would offer what it read at its start: another login in the file means that this may be spent.
        lock = RenewalLock(self._path)
        if not (self.is_wanted and mark == login.mark) or not lock.try_acquire():
            return
        self._not_before = time.monotonic() + _PAUSE_S
        child.is_renewing = True
        self._begin()
        is_answered = False
        try:
            with suppress(RpcError):
                child.renew_login()
                is_answered = True  # what codex would try again is an error
            self._judge(is_renewed=login.mark != mark, is_spent=is_answered)
            if login.mark is not None:
                child.login = (
                    login.mark
                )  # it wrote it, so it has it: no other child is needed for that
        finally:
            child.is_renewing = False
            self._end()
            lock.release()

    def _begin(self) -> None:
        self._end()
        self._since = time.monotonic()
        self._hanging = gevent.spawn_later(RENEWAL_S, _log_hanging)

    def _end(self) -> None:
        self._since = None
        if self._hanging is not None:
            self._hanging.kill(block=False)
            self._hanging = None

    def _judge(self, *, is_renewed: bool, is_spent: bool = False) -> None:
        if is_renewed:
            log.info("login_renewed")
            return
        self._login.note_not_renewed(is_spent=is_spent)
        remedy = "Look whether auth.openai.com can be reached; else log in again."
        log.warning("login_not_renewed", extra={"remedy": remedy})


def _log_hanging() -> None:
    log.error(
        "login_renewal_hangs",
        extra={
            "meaning": "The child that renews the login is not ended, since that would destroy the login.",
            "remedy": "Let it reach auth.openai.com; or log in anew, after which it is ended.",
        },
    )
