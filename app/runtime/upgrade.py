"""Upgrade at USR2: another master, with new code for the master itself, takes over the open port.

`server` is the arbiter.

The predecessor forks and executes the same command again; gunicorn hands it the listening sockets. The new master's
worker accepts nothing until its child has shaken hands: the predecessor serves meanwhile, however long that takes.
Then the new master takes over the pid file and writes one byte into a pipe that it was given; the predecessor's
workers retire, with the grace of a reload, and it exits when they are gone. If the new master dies before that, the
predecessor serves on, or again. Who is told to stop is the service: where the predecessor is before the new master
serves, or the new master after, both do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.runtime.layout import ELSEWHERE
from app.runtime.pid_file import PrivatePidfile
from app.runtime.shutdown import STOP_MARGIN_S

log = logging.getLogger("codex_api.runtime")

READY_PIPE = "GATEWAY_READY_PIPE"
"""Variable in which the new master finds the descriptor of its pipe."""

_READY = b"\1"
_STOP = b"\2"

_LOOK_S = 0.1
"""Pause between two looks at a new master that is to end."""


class StayingPidfile(PrivatePidfile):
    """Pid file that is never away: a rename to the name that it has does nothing."""

    def rename(self, path: Any) -> None:
        """Move the file."""
        if path != self.fname:
            super().rename(path)


class Upgrade:
    """Both sides of an upgrade: a master may have a predecessor, and may later get a follower."""

    def __init__(self, server: Any, ready_pipe: str) -> None:
        self._server = server
        self._to_predecessor = int(ready_pipe) if ready_pipe.isdigit() else -1
        self._from_follower = -1
        self._follower_pid = 0
        self.is_handed_over = False
        if server.master_pid:
            server.shared.serving = ELSEWHERE
        if self._to_predecessor >= 0:
            os.set_inheritable(self._to_predecessor, False)

    # The predecessor's side

    @property
    def is_running(self) -> bool:
        """True while another master is to take over from this one."""
        return bool(self._server.reexec_pid)

    def begin(self, reexec: Callable[[], None]) -> None:
        """Start the new master with gunicorn's `reexec`."""
        server = self._server
        if server.reexec_pid or server.master_pid:
            reexec()  # it says why not
            return
        if server.pid == 1:
            log.error(
                "upgrade_refused", extra={"reason": "As process 1, this master must not end."}
            )
            return
        server.hup.cancel()
        server.dismiss_successor()
        self._from_follower, theirs = os.pipe()
        os.set_blocking(self._from_follower, False)
        os.set_inheritable(theirs, True)
        server.cfg.env_orig[READY_PIPE] = str(theirs)
        reexec()
        os.close(theirs)
        self._follower_pid = server.reexec_pid
        log.info("upgrade_started", extra={"master_pid": server.reexec_pid})

    def step(self) -> None:
        """Follow the upgrade. Raises `StopIteration` when nothing is left to do for this master."""
        server = self._server
        if self._from_follower >= 0:
            self._listen_to_follower()
        if self.is_handed_over and not server.WORKERS:
            raise StopIteration
        if server.shared.is_served_elsewhere and not self.is_handed_over and not server.master_pid:
            # Our predecessor has gone without waiting: our worker, if there is one, accepts now, ready or not.
            server.shared.serving = server.successor
            server.successor = 0

    def _listen_to_follower(self) -> None:
        if _STOP in self._hear_follower():
            raise StopIteration
        if not self.is_running:
            self._take_back()

    def _hear_follower(self) -> bytes:
        words = b""
        with contextlib.suppress(BlockingIOError):
            words = os.read(self._from_follower, 16)
        if _READY in words:
            self.is_handed_over = True
            self._server.shared.serving = ELSEWHERE  # our workers see it and retire
            log.info("upgrade_done", extra={"master_pid": self._server.reexec_pid})
        return words

    def end_follower(self) -> None:
        """End the new master, unless it serves already. Blocks until it is gone, a few seconds at most."""
        server = self._server
        deadline = time.monotonic() + STOP_MARGIN_S
        while self.is_running and not self.is_handed_over:
            self._hear_follower()
            self._signal_follower(signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
            time.sleep(_LOOK_S)
            server.reap_workers()
        if self._follower_pid and not self.is_running:
            # It may have ended before it could tidy up.
            left = PrivatePidfile(f"{server.cfg.pidfile}.2")
            left.pid = self._follower_pid
            left.unlink()

    def _signal_follower(self, number: int) -> None:
        """Signal a new master that does not serve. Once is not enough: in the moment before exec it forgets signals."""
        if self.is_running and not self.is_handed_over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._server.reexec_pid, number)

    def _take_back(self) -> None:
        """The new master has died: serve on, or again."""
        os.close(self._from_follower)
        self._from_follower = -1
        log.error("upgrade_failed", extra={"was_handed_over": self.is_handed_over})
        if self.is_handed_over:
            self.is_handed_over = False
            self._server.shared.serving = 0
            with contextlib.suppress(OSError, RuntimeError):
                self._server.pidfile.create(self._server.pid)

    # The new master's side

    def take_over(self) -> None:
        """Take the pid file and tell the predecessor that a worker of ours serves."""
        server = self._server
        mine = StayingPidfile(server.cfg.pidfile)
        mine.pid = server.pid
        with contextlib.suppress(OSError):
            Path(server.pidfile.fname).replace(server.cfg.pidfile)
            server.pidfile = mine
        self._tell(_READY)

    def stop(self) -> None:
        """Let the other master stop, too: a predecessor that still finishes requests, a new one before it serves."""
        if not self._server.shared.is_served_elsewhere:
            self._tell(_STOP)
        if self._from_follower >= 0:
            self._hear_follower()
            self._signal_follower(signal.SIGTERM)

    def _tell(self, word: bytes) -> None:
        if self._to_predecessor >= 0:
            with contextlib.suppress(OSError):  # it has gone
                os.write(self._to_predecessor, word)
