"""Master process: gunicorn's arbiter with a reload that overlaps and never waits.

gunicorn's own reload tells the old worker to go before the new one can serve, then waits for it (deaf to every
signal) and kills it when the graceful timeout is over; a configuration that cannot be read ends the master. Here every
turn of the master's loop looks at where things stand and takes the next step: `manage_workers` is that look.

Three roles. The worker whose age is in the shared word `serving` accepts connections. The *successor* is to follow it.
Every other worker retires: it sees by itself that the word no longer names it. Only the master writes that word.
An age, as gunicorn counts its workers, is the number of a worker generation.

Loaded once, when the master starts, so its code changes with a restart or USR2 and not with HUP.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from typing import Any, ClassVar

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from app.observability import logs
from app.runtime.layout import ReloadRecord, ReloadState
from app.runtime.pid_file import PrivatePidfile
from app.runtime.reload import Reload
from app.runtime.reload_policy import (
    CRASH_LOOP_PAUSE_S,
    MAX_BOOT_FAILURES,
    RESPAWN_PAUSE_S,
    ExitAction,
    WorkerExit,
    on_worker_exit,
)
from app.runtime.shared import SharedState, new_memory
from app.runtime.shutdown import STOP_MARGIN_S
from app.runtime.upgrade import Upgrade

log = logging.getLogger("codex_api.runtime")

_BOOT_ERROR = 3


class OverlapArbiter(Arbiter):
    """Master of the service. Takes the place of gunicorn's arbiter with `adopt`."""

    WORKERS: ClassVar[dict[int, Any]]
    pidfile: Any
    _stats: dict[str, Any]

    # gunicorn would halt in the middle of collecting dead workers, whoever still serves, where one exits with these
    # statuses. Workers do exit with 3 and 4 (a status is a byte), and gunicorn does not recognise them.
    WORKER_BOOT_ERROR = _BOOT_ERROR - 256
    APP_LOAD_ERROR = 4 - 256

    @classmethod
    def adopt(cls, server: Any, ready_pipe: str) -> None:
        """Turn gunicorn's arbiter into this one; call in `on_starting`, before it handles signals.

        `ready_pipe` is the descriptor that a predecessor handed over at USR2; empty without one.
        """
        server.__class__ = cls
        server.prepare(ready_pipe)

    def prepare(self, ready_pipe: str) -> None:
        """Create what this class has beyond gunicorn's."""
        self.pidfile.__class__ = PrivatePidfile
        self.pidfile.close_to_others()
        # As it was typed: gunicorn would run `python -m gunicorn` by path, among modules that hide Python's own.
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]
        self.memory = new_memory()
        self.shared = SharedState(self.memory)
        self.successor = 0  # an age; 0 for none
        self.is_dismissed = False
        self.boot_failures = 0
        self.hup = Reload(self)
        self.upgrade = Upgrade(self, ready_pipe)
        self._lacks_successor = False
        self._is_stopping = False
        self._fork_not_before = 0.0

    # One turn of the master's loop

    def manage_workers(self) -> None:
        """Take the next step of whatever is going on. Blocks for a fork at most. Raises `StopIteration` at its end."""
        logs.tell_of_lost_lines()
        if self.is_dismissed:
            self.dismiss_successor()  # once more: one that has just been forked does not hear signals yet
        self.upgrade.step()
        if self.upgrade.is_handed_over:
            return
        if self._is_successor_ready():
            self.hand_over()
        self._keep_serving()
        self.hup.step()

    def _is_successor_ready(self) -> bool:
        if not self.successor or self.is_dismissed or self.pid_of(self.successor) is None:
            return False
        return self.shared.ready >= self.successor

    def hand_over(self) -> None:
        """Let the successor serve; the worker that served sees it and retires."""
        was_elsewhere = self.shared.is_served_elsewhere
        self.shared.serving = self.successor
        log.info("reload_done", extra={"worker_generation": self.successor})
        self.note(ReloadState.DONE)
        self.successor = 0
        if was_elsewhere:
            self.upgrade.take_over()

    def _keep_serving(self) -> None:
        """Replace a worker that has died, and fork the first."""
        is_time = time.monotonic() >= self._fork_not_before
        if self.shared.is_served_elsewhere:
            # A HUP that wants one forks it itself, with the new configuration.
            if self.pid_of(self.successor) is None and is_time and not self.hup.is_wanted:
                self.fork(is_successor=True)
        elif self.pid_of(self.shared.serving) is None:
            if self.pid_of(self.successor) is not None and not self.is_dismissed:
                self.hand_over()  # ready or not: it accepts now, and requests wait for its child
            elif is_time:
                self.fork(is_successor=False)
        elif self._lacks_successor and is_time:
            self.fork(is_successor=True)

    def fork(self, *, is_successor: bool) -> None:
        """Fork a worker: to follow the one that serves, or to serve at once."""
        age = self.worker_age + 1
        self.successor, self.is_dismissed, self._lacks_successor = 0, False, False
        if is_successor:
            self.successor = age
        else:
            self.shared.serving = age
        self._fork_not_before = time.monotonic() + RESPAWN_PAUSE_S
        self.spawn_worker()

    def dismiss_successor(self) -> None:
        """Tell the successor to go; it has no connections."""
        pid = self.pid_of(self.successor)
        self._lacks_successor = False
        if pid is not None:
            self.is_dismissed = True
            self.kill_worker(pid, signal.SIGTERM)

    def pid_of(self, age: int) -> int | None:
        """Return the process of a worker generation; None if it is not alive."""
        return next((pid for pid, worker in self.WORKERS.items() if worker.age == age), None)

    @property
    def retiring(self) -> int:
        """Number of workers that are alive beside the one that serves and the successor."""
        roles = {self.shared.serving, self.successor}
        return sum(worker.age not in roles for worker in self.WORKERS.values())

    def note(self, state: ReloadState, text: str = "") -> None:
        """Write down what became of the last HUP, for the health routes."""
        age = self.successor or self.shared.serving
        self.shared.reload = ReloadRecord(state, age, time.time(), text)

    # Exits

    def reap_workers(self) -> None:
        """Collect the workers that have exited. Raises `HaltServer` only if none is left and none can be booted."""
        before = {worker.age for worker in self.WORKERS.values()}
        super().reap_workers()
        if not self._is_stopping:
            for age in sorted(before - {worker.age for worker in self.WORKERS.values()}):
                self._on_exit(age)

    def _on_exit(self, age: int) -> None:
        is_successor = age == self.successor
        booted = self.shared.booted
        self.boot_failures = 0 if booted >= age else self.boot_failures + 1
        action = on_worker_exit(
            WorkerExit(
                was_needed=(is_successor and not self.is_dismissed) or age == self.shared.serving,
                failed_to_boot=booted < age,
                boot_failures=self.boot_failures,
                alive=len(self.WORKERS),
                ever_booted=booted > 0,
            )
        )
        if action is ExitAction.HALT:
            raise HaltServer("Worker failed to boot.", _BOOT_ERROR)
        if action is ExitAction.GIVE_UP:
            self._fork_not_before = time.monotonic() + CRASH_LOOP_PAUSE_S
        if is_successor:
            self._lose_successor(age, action)

    def _lose_successor(self, age: int, action: ExitAction) -> None:
        self.successor, self.is_dismissed = 0, False
        self.shared.successor = ReloadRecord(ReloadState.NONE, 0, time.time())
        self._lacks_successor = action is ExitAction.RETRY
        if action is ExitAction.NOTHING:
            return
        log.error("reload_worker_died", extra={"worker_generation": age, "loss": action.value})
        if action is ExitAction.GIVE_UP:
            text = f"The new worker died {MAX_BOOT_FAILURES} times while booting."
            self.note(ReloadState.FAILED, text)

    # Signals

    def reload(self) -> None:
        """HUP."""
        self._stats["reloads"] += 1
        self.hup.request()

    def handle_int(self) -> None:
        """Ctrl-C drains like TERM; the second one, while that lasts, ends quickly."""
        raise StopIteration

    def handle_ttin(self) -> None:
        """Refuse another worker."""
        log.warning("worker_count_refused", extra={"signal": "TTIN"})

    def handle_ttou(self) -> None:
        """Refuse fewer workers."""
        log.warning("worker_count_refused", extra={"signal": "TTOU"})

    def handle_winch(self) -> None:
        """Ignore it: gunicorn would end the workers of a daemon."""

    def reexec(self) -> None:
        """USR2."""
        self.upgrade.begin(super().reexec)

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002  (gunicorn's signature)
        """End every worker, and a new master that does not serve yet. Blocks for the graceful timeout and its end."""
        self._is_stopping = True
        self.hup.cancel()
        self.upgrade.stop()
        # Also for a worker that is too young to have a handler for TERM.
        self.shared.begin_stop(round((self.cfg.graceful_timeout - STOP_MARGIN_S) * 1000))
        super().stop(graceful)
        self.upgrade.end_follower()
