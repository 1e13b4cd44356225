"""Reload of the service at HUP: check, make room, read the configuration, fork. One step at a time, without waiting.

What comes next is decided in `app.runtime.reload_policy`; here it is done. `server` is the arbiter.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from gunicorn import sock

from app.runtime.check import RunningCheck, problems_of
from app.runtime.layout import LAYOUT, ReloadState
from app.runtime.pid_file import PrivatePidfile
from app.runtime.reload_policy import Check, Situation, Step, next_step

log = logging.getLogger("codex_api.runtime")


class Reload:
    """HUPs of one master; any number of them that wait are one."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.is_wanted = False
        self._check = Check.NOT_BEGUN
        self._running: RunningCheck | None = None

    def request(self) -> None:
        """Note that a reload is wanted. A check that is running has read the old files, so it begins again."""
        if self._server.upgrade.is_running:
            log.warning("reload_refused", extra={"problems": ["Another master is taking over."]})
            return
        self.cancel()
        self.is_wanted = True

    def cancel(self) -> None:
        """Forget about the reload."""
        self.is_wanted, self._check = False, Check.NOT_BEGUN
        if self._running is not None:
            self._running.cancel()
            self._running = None

    def step(self) -> None:
        """Do what comes next, if anything does."""
        self._follow_check()
        server = self._server
        situation = Situation(
            is_wanted=self.is_wanted,
            check=self._check,
            has_successor=server.pid_of(server.successor) is not None,
            is_dismissed=server.is_dismissed,
            retiring=server.retiring,
        )
        step = next_step(situation)
        if step is Step.QUEUE:
            self._queue(situation.retiring)
        elif step is Step.CHECK:
            self._begin_check()
        elif step is Step.DISMISS:
            server.dismiss_successor()
        elif step is Step.FORK:
            self._fork()

    def _queue(self, retiring: int) -> None:
        self._check = Check.NOT_BEGUN
        last = self._server.shared.reload
        if last is None or last.state is not ReloadState.QUEUED:
            log.warning("reload_queued", extra={"retiring": retiring})
            text = (
                f"{retiring} older workers still finish their requests; the reload waits for one."
            )
            self._server.note(ReloadState.QUEUED, text)

    def _begin_check(self) -> None:
        server = self._server
        server.note(ReloadState.CHECKING)
        address = list(server.cfg.address[0][:2])
        try:
            self._running = RunningCheck(sys.argv[1:], address, LAYOUT, server.START_CTX["cwd"])
        except OSError as error:
            self._refuse(f"The check could not be started: {error.strerror}.")
        else:
            self._check = Check.RUNNING

    def _follow_check(self) -> None:
        problems = self._running.poll() if self._running is not None else None
        if problems is None:
            return
        self._running = None
        if problems:
            self._refuse(*problems)
        else:
            self._check = Check.PASSED

    def _refuse(self, *problems: str) -> None:
        self.is_wanted, self._check = False, Check.NOT_BEGUN
        log.error("reload_refused", extra={"problems": problems})
        self._server.note(ReloadState.REFUSED, " ".join(problems))

    def _fork(self) -> None:
        """Take the new configuration, which was found good a moment ago, and fork a worker that is to use it."""
        self.is_wanted, self._check = False, Check.NOT_BEGUN
        server = self._server
        try:
            load_configuration(server)
        # It runs the code on disk, which may have changed since the check and may raise anything.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            self._refuse(*problems_of(error))
            return
        log.info("reload_started", extra={"worker_generation": server.worker_age + 1})
        server.boot_failures = 0  # the next worker has another configuration
        server.fork(is_successor=True)
        server.note(ReloadState.STARTING)


def load_configuration(server: Any) -> None:
    """Read gunicorn.conf.py again and take it over, wholly or not at all. Raises whatever that raises."""
    old = server.cfg
    listeners: list[Any] = []
    try:
        server.app.reload()
        new = server.app.cfg
        if new.address != old.address:
            listeners = sock.create_sockets(new, server.log)
        if new.pidfile != old.pidfile:
            _move_pidfile(server, new.pidfile)
    # SystemExit is gunicorn's way to say that it cannot read its configuration or listen.
    except (Exception, SystemExit):
        sock.close_sockets(listeners)
        server.app.cfg = old
        raise
    if listeners:
        # The worker that serves has descriptors of its own, and goes on listening there until it retires.
        sock.close_sockets(server.LISTENERS)
        server.LISTENERS = listeners
        log.info("address_changed", extra={"address": ", ".join(map(str, listeners))})
    server.setup(server.app)
    server.log.reopen_files()
    server.cfg.on_reload(server)


def _move_pidfile(server: Any, path: str) -> None:
    pidfile = PrivatePidfile(path + (".2" if server.master_pid else ""))
    pidfile.create(server.pid)
    server.pidfile.unlink()
    server.pidfile = pidfile
