"""Backend with a codex process for each turn: a fresh one, or one that was started ahead of demand."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import gevent
from gevent.event import Event

from app.backend.account import AccountLimits
from app.backend.health import Health
from app.backend.lease import Lease
from app.backend.observer import RequestObserver
from app.backend.protocols import BackendHooks, Turn
from app.backend.request import Model, TurnRequest
from app.backend.retry_after import seconds_until
from app.backends.app_server.limits import Limits
from app.backends.app_server.renewal import Renewal
from app.backends.app_server.rpc_errors import mapped
from app.backends.per_request.app_server_dialect import AppServerDialect
from app.backends.per_request.dialect import Dialect
from app.backends.per_request.pool import NoPlace, Pool, TooLate
from app.backends.per_request.process import Process
from app.backends.per_request.readiness import Readiness
from app.backends.per_request.starter import Starter, StartFailed
from app.backends.per_request.tending import Tending
from app.codex.launch import Launcher
from app.codex.login import Login
from app.errors import Draining, GatewayError, WorkerBusy, WorkerUnavailable
from app.process.lifecycle import BackoffPolicy

log = logging.getLogger("codex_api.codex")

_STOP_S = 10.0


class PerRequestBackend:
    """See `app.backend.protocols.Backend`. At most `most` processes have turns, and `spare` wait for one.

    `speak` makes the dialect that they are spoken to in. `version` is the gateway's own.
    """

    kind = "per_request"

    def __init__(
        self,
        launcher: Launcher,
        limits: Limits,
        version: str,
        *,
        most: int,
        spare: int,
        speak: Callable[[Launcher, Limits, str], Dialect] = AppServerDialect,
    ) -> None:
        self.upstream: str = launcher.upstream.kind.value
        self.account = AccountLimits()
        self.hooks = BackendHooks()
        self.login = Login(launcher.home, launcher.upstream.kind, renews_anew=True)
        self.readiness = Readiness(BackoffPolicy(limits.backoff_initial_ms, limits.backoff_max_ms))
        self._renewal = Renewal(self.login, launcher.home.renewal_lock)  # ahead of time
        self._wake, self._stopping, self._stopped = Event(), Event(), Event()
        self.starter = Starter(
            launcher,
            limits,
            speak(launcher, limits, version),
            login=self.login,
            account=self.account,
            stopping=self._stopping,
        )
        self.pool = Pool(
            self.starter, most=most, spare=spare, wake=self._wake, stopping=self._stopping
        )
        self._tending = Tending(
            self.starter,
            self.pool,
            self.readiness,
            self.login,
            self._renewal,
            hooks=lambda: self.hooks,  # they are set later
            interval_s=limits.probe_interval_ms / 1000,
            wake=self._wake,
        )
        self._is_running = self._is_draining = False

    # Life

    def run(self) -> None:
        """Look after the processes until `stop`. Blocks: the supervisor greenlet."""
        self._is_running = True
        tending = gevent.spawn(self._tending.run)
        try:
            self._stopping.wait()
        finally:
            tending.kill()
            self.pool.end_all()
            self.starter.folders.close()
            self.readiness.finish()
            self._stopped.set()

    def wait_ready(self, timeout_s: float) -> bool:
        """Block until a process has shaken hands, or the time is up; True if one has."""
        return self.readiness.wait(timeout_s)

    def begin_drain(self) -> None:
        """Report not ready. What still arrives is served: gunicorn closes its listener a moment later."""
        self._is_draining = True

    def end_turns(self, error: GatewayError) -> None:
        """End every running turn with `error`, and begin no more. Does not block."""
        self.readiness.stop()
        for process in list(self.starter.processes):
            process.connection.fail_turns(error)

    def stop(self) -> None:
        """Begin no more turns and end every process. Blocks until they are gone."""
        self.begin_drain()
        if self.is_renewing_login():
            log.error(
                "login_renewal_cut",
                extra={
                    "meaning": "The service ends while codex renews its login, which may be lost now.",
                    "remedy": "If requests are then 503 UPSTREAM_AUTH: .venv/bin/flask --app wsgi codex login.",
                },
            )
        self.readiness.stop()
        self._stopping.set()
        if self._is_running:
            self._stopped.wait(_STOP_S)

    def health(self) -> Health:
        """Return where the processes are now. Does not block."""
        processes, life = self.starter.processes, self.readiness.lifecycle
        reasons = [self._renewal.reason, *(process.renewal.reason for process in processes)]
        reason = self.readiness.unready_reason(
            is_draining=self._is_draining,
            lacks_login=self.login.is_lacking,
            renewal=next(filter(None, reasons), None),
        )
        return Health(
            ready=reason is None,
            degraded=life.is_degraded,
            reason=reason,
            state=life.state.value,
            generation=1 if self._tending.models else 0,
            pids=tuple(process.child.pid for process in processes),
            spare=len(self.pool.stock),
            user_agent=self._tending.user_agent,
            codex_version=self._tending.codex_version,
            restarts=life.restarts,
            failures=life.failures,
            backoff_ms=life.backoff_ms,
            handshake_ms=self.readiness.handshake_ms,
            last_exit=self.readiness.last_exit,
            history=self.readiness.history.moments,
            last_upstream_failure=self.starter.failures.last,
            counters=dict(self.pool.counters),
        )

    # The service's own login

    def account_mark(self) -> str:
        """Return what tells the present login from another."""
        return str(self.login.mark)

    def check_login(self) -> None:
        """Raise `UpstreamAuth` where there is none: codex itself would send the turn without a key."""
        self.login.check()

    def is_renewing_login(self) -> bool:
        """True while a process may be renewing the login: its end would destroy it."""
        return any(process.may_renew for process in self.starter.processes)

    def note_login(self, *, accepted: bool) -> None:
        """Take what an answer told about the login."""
        if accepted:
            self.login.note_accepted()
        else:
            self.login.note_refused()

    # Turns

    def models(self, deadline: float) -> tuple[Model, ...]:
        """Return the models of the last probe, waiting for one until `deadline`. Raises `WorkerUnavailable`.

        Raises `UpstreamAuth` where nothing is started for want of a login that can be kept.
        """
        if not self._tending.models:
            if self.login.is_read_only:
                self.login.check()
            self._await_ready(deadline)
        return self._tending.models

    def open(
        self, request: TurnRequest, lease: Lease, deadline: float, observer: RequestObserver
    ) -> Turn:
        """Begin a turn on a process of its own. See `app.backend.protocols.Backend`."""
        self.starter.dialect.check(request)
        with observer.waiting():
            process = self._take(deadline)
        try:
            with mapped():
                return process.connection.begin(request, lease, observer.turn)
        finally:
            self.pool.end(process)  # once its turn is over

    def _take(self, deadline: float) -> Process:
        """Return a process for one turn. Blocks."""
        began = time.monotonic()
        while True:
            self._await_ready(deadline)
            try:
                process = self.pool.take_spare() or self.pool.start_within(deadline)
            except StartFailed as failure:
                self._tending.note_failure(failure.why)
                continue  # once a probe has found that one can be started
            except NoPlace:
                if self.pool.last_start < began and self.pool.is_starting:  # in vain
                    raise self._unavailable() from None
                raise WorkerBusy(
                    "No place to start a codex process became free in time; send fewer requests at once, or try again."
                ) from None
            except TooLate:
                raise self._unavailable() from None
            if not self.login.is_used or process.connection.login is not None:
                return process
            # It was started before there was a login, and would send its turn without a key.
            self.pool.end(process)
            self.login.check()

    def _await_ready(self, deadline: float) -> None:
        is_ready = self.readiness.wait(max(0.0, deadline - time.monotonic()))
        if self.readiness.is_stopped:
            raise Draining("This worker is shutting down; send the request again.")
        if not is_ready:
            raise self._unavailable()

    def _unavailable(self) -> WorkerUnavailable:
        return WorkerUnavailable(
            "No codex process could be started for this request in time; try again shortly.",
            retry_after_s=seconds_until(self.readiness.backoff_until, time.monotonic()),
        )

    def __repr__(self) -> str:
        return f"<PerRequestBackend {self.readiness!r} processes={len(self.starter.processes)}>"
