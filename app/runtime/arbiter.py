"""gunicorn's master with a reload of ours: side by side instead of one after the other, and never waiting.

gunicorn's own reload tells the old worker to go before the new one can serve, then waits for it (deaf to every
signal) and kills it when the graceful timeout is over; a configuration that cannot be read ends the master. Here every
turn of the master's loop looks at where things stand and takes the next step: `manage_workers` is that look.

Three roles. The worker whose age is in the shared word `serving` accepts connections. The *successor* is to follow it.
Every other worker retires: it sees by itself that the word no longer names it. Only the master writes that word.

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

from app.runtime.hup import Hup
from app.runtime.layout import ReloadRecord, ReloadState, WordOffset
from app.runtime.reload import (
    HOPELESS_PAUSE_S,
    MAX_BOOT_FAILURES,
    RESPAWN_PAUSE_S,
    ExitAction,
    WorkerExit,
    judge,
)
from app.runtime.shared import SharedState, new_memory
from app.runtime.shutdown import STOP_MARGIN_S
from app.runtime.upgrade import Upgrade

log = logging.getLogger("codex_api.runtime")


class OverlapArbiter(Arbiter):
    """See the module. Takes the place of gunicorn's arbiter with `adopt`."""

    WORKERS: ClassVar[dict[int, Any]]
    _stats: dict[str, Any]

    @classmethod
    def adopt(cls, server: Any, ready_pipe: str) -> None:
        """Turn gunicorn's arbiter into this one; call in `on_starting`, before it handles signals.

        `ready_pipe` is the descriptor that a predecessor handed over at USR2; empty without one.
        """
        server.__class__ = cls
        server.prepare(ready_pipe)

    def prepare(self, ready_pipe: str) -> None:
        """Create what this class has beyond gunicorn's."""
        # As it was typed: gunicorn would run `python -m gunicorn` by path, among modules that hide Python's own.
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]
        self.memory = new_memory()
        self.shared = SharedState(self.memory)
        self.successor = (
            0  # an age, as gunicorn counts workers: the number of a worker generation; 0 for none
        )
        self.is_dismissed = False
        self.hup = Hup(self)
        self.upgrade = Upgrade(self, ready_pipe)
        self._lacks_successor = False
        self._is_stopping = False
        self._boot_failures = 0
        self._fork_not_before = 0.0

    # One turn of the master's loop

    def manage_workers(self) -> None:
        """Take the next step of whatever is going on. Blocks for a fork at most. Raises `StopIteration` at its end."""
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
        return self.shared.word(WordOffset.READY) >= self.successor

    def hand_over(self) -> None:
        """Let the successor serve; the worker that served sees it and retires."""
        was_elsewhere = self.shared.is_served_elsewhere
        self.shared.set_word(WordOffset.SERVING, self.successor)
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
            self.shared.set_word(WordOffset.SERVING, age)
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
        """How many workers are alive beside the one that serves and the successor."""
        return sum(
            worker.age not in {self.shared.serving, self.successor}
            for worker in self.WORKERS.values()
        )

    def note(self, state: ReloadState, text: str = "") -> None:
        """Write down what became of the last HUP, for the health routes."""
        age = self.successor or self.shared.serving
        self.shared.reload = ReloadRecord(state, age, time.time(), text)

    # Deaths

    def reap_workers(self) -> None:
        """Collect what has ended. Raises `HaltServer` only if no worker is left and none can be booted."""
        before = {worker.age: worker for worker in self.WORKERS.values()}
        halt = None
        while True:
            try:
                super().reap_workers()
                break
            except HaltServer as error:  # raised in the middle of the collecting
                halt = error
        alive = {worker.age for worker in self.WORKERS.values()}
        for age in sorted(before.keys() - alive):
            if halt is not None and age > self.shared.word(WordOffset.BOOTED):
                before[age].tmp.close()  # gunicorn skips both where it would halt
                self.cfg.child_exit(self, before[age])
            if not self._is_stopping:
                self._judge(age, halt)

    def _judge(self, age: int, halt: HaltServer | None) -> None:
        is_successor = age == self.successor
        booted = self.shared.word(WordOffset.BOOTED)
        self._boot_failures = 0 if booted >= age else self._boot_failures + 1
        death = WorkerExit(
            was_needed=(is_successor and not self.is_dismissed) or age == self.shared.serving,
            failed_to_boot=booted < age,
            boot_failures=self._boot_failures,
            alive=len(self.WORKERS),
            ever_booted=booted > 0,
        )
        loss = judge(death)
        if loss is ExitAction.HALT:
            raise halt or HaltServer("Worker failed to boot.", self.WORKER_BOOT_ERROR)
        if is_successor:
            self.successor, self.is_dismissed = 0, False
            self.shared.successor = ReloadRecord(ReloadState.NONE, 0, time.time())
            self._lacks_successor = loss is ExitAction.RETRY
        if loss is ExitAction.GIVE_UP:
            self._fork_not_before = time.monotonic() + HOPELESS_PAUSE_S
        if loss in {ExitAction.RETRY, ExitAction.GIVE_UP} and is_successor:
            log.error("reload_worker_died", extra={"worker_generation": age, "loss": loss.value})
            if loss is ExitAction.GIVE_UP:
                self.note(
                    ReloadState.FAILED,
                    f"The new worker died {MAX_BOOT_FAILURES} times while booting.",
                )

    # Signals

    def reload(self) -> None:
        """HUP."""
        self._stats["reloads"] += 1
        self.hup.request()

    def reset_boot_failures(self) -> None:
        """Begin to count anew: the next worker has another configuration."""
        self._boot_failures = 0

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
        """End every worker. Blocks for the graceful timeout at most."""
        self._is_stopping = True
        self.hup.cancel()
        self.upgrade.stop()
        # Also for a worker that is too young to have a handler for TERM.
        self.shared.begin_stop(round((self.cfg.graceful_timeout - STOP_MARGIN_S) * 1000))
        super().stop(graceful)
