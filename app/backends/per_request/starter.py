"""Starter of codex processes: what every start needs is prepared once, then each takes a fork and a handshake."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from gevent import subprocess
from gevent.event import Event

from app.backend.account import AccountLimits
from app.backends.app_server.history import history_budget
from app.backends.app_server.limits import Limits
from app.backends.app_server.parse_events import ProtocolError
from app.backends.app_server.renewal import RENEWAL_S, Renewal
from app.backends.app_server.watchdog import HealthProblem
from app.backends.per_request.dialect import Dialect, Surroundings
from app.backends.per_request.folders import Folders
from app.backends.per_request.process import Process
from app.codex.catalog import Offer
from app.codex.few_roots import FewRoots
from app.codex.home import LoginReadOnly
from app.codex.launch import Launcher
from app.codex.login import Login
from app.codex.upstream_failures import UpstreamFailures
from app.codex.upstream_models import UpstreamModels
from app.errors import WorkerUnavailable
from app.process.child import Child, ChildSpec, StartRefused, failed_start
from app.process.lifecycle import LastExit
from app.rpc.errors import RpcError

log = logging.getLogger("codex_api.codex")


class StartFailed(Exception):
    """A process could not be started, or did not shake hands."""

    def __init__(self, why: LastExit) -> None:
        super().__init__(why.detail)
        self.why = why


class Starter:
    """See the module. `processes` holds those that were started and not ended yet; `stopping` ends all waiting."""

    def __init__(
        self,
        launcher: Launcher,
        limits: Limits,
        dialect: Dialect,
        *,
        login: Login,
        account: AccountLimits,
        stopping: Event,
    ) -> None:
        self.processes: set[Process] = set()
        self.failures = UpstreamFailures(launcher.upstream, launcher.http, self._note_unreached)
        self.on_unreached: Callable[[], None] = lambda: None
        """Called when an upstream could not be reached, in a greenlet of its own; it may block."""
        self.spec: ChildSpec | None = None
        """What is started next; None before `prepare`."""
        self.folders = Folders(launcher.home.turns)
        self.dialect = dialect
        self._launcher = launcher
        self._limits = limits
        self._login = login
        self._stopping = stopping
        self._shared = Surroundings(account, history_budget(), self.failures.note)
        self._started = 0

    def _note_unreached(self) -> None:
        self.on_unreached()

    @property
    def upstream_models(self) -> UpstreamModels | None:
        """The upstream's own list of models, where that is asked for."""
        return self._launcher.models

    @property
    def few_roots(self) -> FewRoots | None:
        """The certificates that processes are given in place of the system's, if they are."""
        return self._launcher.few_roots

    @property
    def offered(self) -> Offer:
        """The models that were prepared last."""
        return self._launcher.offered

    def prepare(self) -> None:
        """Make ready what starts have in common. Blocks while the binary prints its catalog; raises `StartFailed`."""
        try:
            if self._login.is_read_only:
                raise LoginReadOnly(
                    "codex renews this login by itself, and auth.json cannot be written: the first renewal would "
                    "spend the login and lose the new one. Mount the file, or all of CODEX_HOME, writable."
                )
            self.spec = self.dialect.prepare()
            self.folders.open()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise _failed(error) from error

    def start(self, *, is_for_turn: bool = False) -> Process:
        """Start a process and shake hands with it. Blocks; raises `StartFailed`, and leaves nothing behind then.

        Where the login is due, that waits for others that may be renewing it, and for this one, which is not ended
        meanwhile: so no caller may cut it short. Raises `UpstreamAuth` where the login was refused for good, and for a
        turn also where nobody could renew it just now: every start would try it again.
        """
        if self.spec is None or self._stopping.is_set():
            raise StartFailed(LastExit(None, "stopped"))
        renewal = Renewal(self._login, self._launcher.home.renewal_lock)
        try:
            renewal.begin_start()
            if is_for_turn or self._login.is_at_its_end:
                self._login.check()  # who had the lock before may have tried in vain
            process = self._fork(self.spec, renewal)
        except (OSError, subprocess.SubprocessError) as error:
            renewal.end_start(is_done=False)
            raise _failed(error) from error
        except BaseException:
            renewal.end_start(is_done=False)
            raise
        try:
            self._shake_hands(process)
        except (RpcError, ProtocolError) as error:
            self._launcher.doubt()
            code = self.end(process)
            detail = failed_start(str(error), process.child.last_words)
            raise StartFailed(LastExit(code, "handshake_failed", detail)) from error
        except BaseException:
            self.end(process)
            raise
        renewal.end_start(is_done=True)
        self._watch(process)
        return process

    def _fork(self, spec: ChildSpec, renewal: Renewal) -> Process:
        folder = self.folders.new()
        try:
            own = self.dialect.apart(spec, folder)
            mark = self._login.mark  # before the child reads it
            child = Child(own)
        except BaseException:
            self.folders.remove(folder)
            raise
        self._started += 1
        connection = self.dialect.connect(self._started, child, mark, self._shared)
        process = Process(spec, folder, child, connection, renewal, self._login)
        self.processes.add(process)
        return process

    def _shake_hands(self, process: Process) -> None:
        connection = process.connection
        startup_s = self._limits.startup_timeout_ms / 1000
        if process.renewal.is_starting:
            startup_s = max(RENEWAL_S, startup_s)
        connection.handshake(startup_s)
        if connection.login is not None and not connection.has_login():
            self._login.note_not_taken(connection.login)
            connection.login = None

    def _watch(self, process: Process) -> None:
        # Whatever grows or hangs is ended with the one turn that it has: nobody else's is on it.
        limits = replace(self._limits.health_limits, settled_s=0.0)
        on_problem = partial(_on_problem, process)
        watch = partial(process.connection.watch, limits, on_problem, lambda: process.may_renew)
        process.connection.spawn_background(watch)

    def end(self, process: Process, *, is_pattern: bool = False) -> int | None:
        """End a process once nothing runs on it, and remove what it wrote. Blocks; returns its exit code.

        `is_pattern`: it had no turn, and others are given copies of its databases.
        """
        try:
            code = process.end(self._stopping)
            if is_pattern:
                self.folders.learn(process.folder)
        finally:
            self.folders.remove(process.folder)
            self.processes.discard(process)
        return code

    def abort(self) -> None:
        """Make the starts that are at work fail now; one that renews the login is told to finish. Does not block."""
        for process in list(self.processes):
            if process.may_renew:
                process.child.send_eof()  # codex finishes a renewal then, and exits
            else:
                process.child.kill()


def _failed(error: Exception) -> StartFailed:
    reason = error.reason if isinstance(error, StartRefused) else "start_failed"
    return StartFailed(LastExit(None, reason, str(error)))


def _on_problem(process: Process, problem: HealthProblem) -> None:
    if process.may_renew:
        return  # it will be found again
    if problem in {HealthProblem.MEMORY, HealthProblem.MEMORY_TWICE}:
        process.connection.fail_turns(
            WorkerUnavailable("The codex process outgrew its memory during the answer.")
        )
    log.warning("child_recycled", extra={"child": "codex", "reason": problem.value})
    process.child.kill()
