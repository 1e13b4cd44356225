"""Backend with one `codex app-server` child: keeps it alive, and says which connection new turns begin on."""

from __future__ import annotations

import logging
import time
from functools import partial
from weakref import WeakSet

import gevent
from gevent.event import Event

from app.backend.account import AccountLimits
from app.backend.health import Health
from app.backend.lease import Lease
from app.backend.observer import NULL_OBSERVER, RequestObserver
from app.backend.protocols import BackendHooks
from app.backend.request import Model, TurnRequest
from app.backend.retry_after import seconds_until
from app.backends.app_server.connection import Connection
from app.backends.app_server.history import history_budget
from app.backends.app_server.kept_threads import KeptThreads
from app.backends.app_server.limits import Limits
from app.backends.app_server.renewal import RENEWAL_S, Renewal
from app.backends.app_server.rpc_errors import mapped
from app.backends.app_server.status import health_of
from app.backends.app_server.turn import Turn
from app.backends.app_server.warm_threads import Demand, WarmThreads
from app.backends.app_server.watchdog import HealthProblem, Watchdog
from app.codex.auth_file import LoginMark
from app.codex.binary import pinned_version
from app.codex.catalog import Offer
from app.codex.few_roots import CHECK_EVERY_S
from app.codex.home import LoginReadOnly
from app.codex.launch import Launcher
from app.codex.login import Login
from app.codex.upstream_failures import UpstreamFailures
from app.codex.upstream_http import Unreachable
from app.codex.upstream_websockets import WebSocketUse
from app.errors import Draining, GatewayError, WorkerUnavailable
from app.process.child import Child, ChildSpec
from app.process.lifecycle import BackoffPolicy
from app.process.supervisor import Supervisor

log = logging.getLogger("codex_api.codex")

_MODELS_EVERY = 6
"""How many probes' time lies between two looks at the upstream's list of models."""

_PROBE_S = 5.0

_NEXT_S = 0.25
"""How long is waited for the next connection before it is asked for once more."""


class AppServerBackend:
    """See `app.backend.protocols.Backend`. One supervised child; while one is replaced, a second finishes its turns."""

    kind = "app_server"

    def __init__(self, launcher: Launcher, limits: Limits, version: str) -> None:
        self.launcher = launcher
        self.upstream: str = launcher.upstream.kind.value
        self.account = AccountLimits()
        self.hooks = BackendHooks()
        self.login = Login(launcher.home, launcher.upstream.kind)
        self.renewal = Renewal(self.login, launcher.home.renewal_lock)
        self._failures = UpstreamFailures(launcher.upstream, launcher.http, self._check_roots)
        self.connection: Connection | None = None
        """The one that new turns begin on."""
        self._histories = history_budget()
        self._demand = Demand(limits.warm, time.monotonic())
        self._websockets = WebSocketUse(launcher.upstream)
        self._limits = limits
        self._version = version
        self._connections = 0
        self._other_version = ""  # that the log has already named
        self._is_draining = False
        self._is_stopped = False
        self._alive: WeakSet[Connection] = WeakSet()  # those that retire, too
        self._mark: LoginMark | None = None  # of the login that the next child starts with
        self._next = Event()  # set, and a new one made, when the next connection serves
        self.supervisor = Supervisor(
            "codex",
            BackoffPolicy(limits.backoff_initial_ms, limits.backoff_max_ms),
            prepare=self._prepare,
            attach=self._attach,
            is_spared=lambda child: self._is_spared(child.pid),
        )
        self.supervisor.on_restart = self._on_restart
        self.supervisor.on_replaced = self._on_replaced

    # Life

    def run(self) -> None:
        """Keep the child alive until `stop`. Blocks: the supervisor greenlet."""
        self.supervisor.run()

    def wait_ready(self, timeout_s: float) -> bool:
        """Block until a child has shaken hands, or the time is up; True if one has."""
        return self.supervisor.wait_ready(timeout_s)

    def begin_drain(self) -> None:
        """Report not ready. What still arrives is served: gunicorn closes its listener a moment later."""
        self._is_draining = True
        for connection in list(self._alive):
            connection.threads.stop_warming()

    def end_turns(self, error: GatewayError) -> None:
        """End every running turn with `error`, and begin no more. Does not block."""
        self._is_stopped = True
        for connection in list(self._alive):
            connection.fail_turns(error)

    def stop(self) -> None:
        """Begin no more turns and end the child. Blocks until it is gone."""
        self.begin_drain()
        self._is_stopped = True
        if self.is_renewing_login():
            log.error(
                "login_renewal_cut",
                extra={
                    "meaning": "The service ends while codex renews its login, which may be lost now.",
                    "remedy": "If requests are then 503 UPSTREAM_AUTH: .venv/bin/flask --app wsgi codex login.",
                },
            )
        self.supervisor.stop()
        self.renewal.end_start(is_done=False)

    def health(self) -> Health:
        """Return where the child is now. Does not block."""
        return health_of(
            self.supervisor,
            self.connection,
            self.login,
            self._failures,
            is_draining=self._is_draining,
            renewal=self.renewal.reason,
        )

    # The child

    def _prepare(self) -> ChildSpec:
        if self.login.is_read_only:
            raise LoginReadOnly(
                "codex renews this login by itself, and auth.json cannot be written: the first renewal would spend "
                "the login and lose the new one. Mount the file, or all of CODEX_HOME, writable."
            )
        spec = self.launcher.prepare()
        self.renewal.begin_start()
        self._mark = self.login.mark  # before the child reads it
        return spec

    def _attach(self, child: Child) -> Connection:
        self._connections += 1
        connection = Connection(
            self._connections,
            child,
            rpc_timeout_s=self._limits.rpc_timeout_ms / 1000,
            on_lost=self._on_channel_closed,
            account=self.account,
            login=self._mark,
            on_event=self._failures.note,
        )
        connection.threads.histories = self._histories
        connection.threads.kept = KeptThreads(self._limits.kept)
        connection.threads.warm = WarmThreads(self._demand)
        connection.threads.calls.websockets = self._websockets
        try:
            self._shake_hands(connection)
        except BaseException:
            self.launcher.doubt()
            self.supervisor.await_spared(child)
            child.kill()
            connection.detach()
            self.renewal.end_start(is_done=False)
            raise
        self.renewal.end_start(is_done=True)
        if self.connection is None or self.connection.models != connection.models:
            self.hooks.on_models(connection.models)
        self._note_version(connection.codex_version)
        self._alive.add(connection)
        self.connection = connection
        self._watch(connection)
        awaited, self._next = self._next, Event()
        awaited.set()
        return connection

    def _note_version(self, found: str) -> None:
        """Say once that the child is not of the version that was tested."""
        if found not in (pinned_version(), self._other_version):
            self._other_version = found
            fields = {"codex_version": found, "tested": pinned_version()}
            log.warning("codex_version_differs", extra=fields)

    def _watch_models(self, connection: Connection, offered: Offer) -> None:
        """Read the upstream's list of models now and then; replace a child that was given another offer. Blocks."""
        models = self.launcher.models
        while models is not None and models.is_read:
            models.refresh()  # at once: the child may have been given the list of long ago
            if models.offer() != offered:
                self._on_unhealthy(connection, HealthProblem.MODELS)
            gevent.sleep(_MODELS_EVERY * self._limits.probe_interval_ms / 1000)

    def _watch_roots(self) -> None:
        """Prove the child's few certificates now and then. Blocks."""
        while self.launcher.few_roots is not None:
            self._check_roots()
            gevent.sleep(CHECK_EVERY_S)

    def _check_roots(self) -> None:
        """Replace the child if a host is not trusted with its few certificates. Blocks for some seconds at most."""
        roots = self.launcher.few_roots
        if roots is not None and roots.is_refuted():
            self.supervisor.replace(HealthProblem.CERTIFICATES.value, is_useless=True)

    def _find_out_websockets(self) -> None:
        """Ask the upstream for a WebSocket whenever it is not known whether it speaks it. Blocks."""
        while True:
            if self._websockets.is_probe_due(time.monotonic()):
                is_spoken = self._probe_websocket()
                self._websockets.note_probe(time.monotonic(), is_spoken=is_spoken)
                log.info("upstream_websockets", extra={"is_spoken": is_spoken})
            gevent.sleep(_MODELS_EVERY * self._limits.probe_interval_ms / 1000)

    def _probe_websocket(self) -> bool:
        launcher = self.launcher
        url = f"{launcher.upstream.base_url}/responses"
        try:
            return launcher.http.upgrades(url, launcher.upstream_key, _PROBE_S)
        except Unreachable:
            return False

    def _shake_hands(self, connection: Connection) -> None:
        startup_s = self._limits.startup_timeout_ms / 1000
        connection.shake_hands(
            self._version,
            max(RENEWAL_S, startup_s) if self.renewal.is_starting else startup_s,
            self.launcher.home.silence_log_database,
        )
        if connection.login is not None and not connection.has_login():
            self.login.note_not_taken(connection.login)
            connection.login = None

    def _watch(self, connection: Connection) -> None:
        limits = self._limits.health_limits
        watchdog = Watchdog(
            connection,
            limits,
            partial(self._on_unhealthy, connection),
            has_old_login=partial(self._has_old_login, connection),
            work=connection.work,
            is_spared=partial(self._is_spared, connection.pid),
            give_up_kept=connection.threads.give_up_all,
        )
        connection.spawn_background(watchdog.run)
        connection.spawn_background(connection.ask_for_limits)
        connection.spawn_background(connection.threads.expire_kept)
        if connection.models and not self._is_draining:
            connection.spawn_background(
                partial(connection.threads.keep_warm, connection.models[0].id, self._may_warm)
            )
        connection.spawn_background(partial(self._watch_models, connection, self.launcher.offered))
        connection.spawn_background(self._watch_roots)
        connection.spawn_background(self._find_out_websockets)
        if self.login.is_used:
            is_serving = lambda: connection is self.connection  # noqa: E731 - a name for one line
            connection.spawn_background(
                partial(self.renewal.keep, connection, limits.interval_s, is_serving)
            )

    def _is_spared(self, pid: int) -> bool:
        """True for a child that may be renewing the login."""
        found = [connection for connection in self._alive if connection.pid == pid]
        return self._may_renew(found[0]) if found else self.renewal.is_starting

    def _may_renew(self, connection: Connection) -> bool:
        # In a turn codex renews what is due; of one that is idle it was not seen in a minute.
        return connection.is_renewing or (len(connection.threads) > 0 and self.login.is_due())

    def _may_warm(self) -> bool:
        # Whoever is asked in vain, or just before a renewal, is asked by turns alone.
        return not (self.login.is_lacking or self.login.is_due())

    def _on_restart(self) -> None:
        self.hooks.on_restart()

    def _on_replaced(self, reason: str) -> None:
        self.hooks.on_replaced(reason)

    def _on_unhealthy(self, connection: Connection, problem: HealthProblem) -> None:
        if problem is HealthProblem.MEMORY_TWICE and self._is_spared(connection.pid):
            return  # it serves on, and will be found again
        if problem is HealthProblem.MEMORY_TWICE:
            # One of them made it grow, and nobody knows which: none is run again.
            connection.fail_turns(
                WorkerUnavailable("The codex process outgrew its memory during the answer.")
            )
        if not problem.is_fatal:
            if connection is self.connection:  # one that retires goes anyway
                self.supervisor.replace(problem.value)
        elif connection is self.connection:
            self.supervisor.restart(problem.value)
        elif not self._is_spared(connection.pid):
            fields = {"child": "codex", "pid": connection.pid, "reason": problem.value}
            log.warning("retired_child_killed", extra=fields)
            connection.kill()

    def _on_channel_closed(self, connection: Connection) -> None:
        if connection is self.connection:
            # A child whose pipe is closed is of no use, even if its process lives on.
            self.supervisor.restart("pipe_closed")

    # The service's own login

    def _has_old_login(self, connection: Connection) -> bool:
        """Return True if there is another login than this child has. While it renews, it writes the next one itself."""
        return not connection.is_renewing and self.login.mark not in (None, connection.login)

    def account_mark(self) -> str:
        """Return what tells the present login from another."""
        return str(self.login.mark)

    def check_login(self) -> None:
        """Raise `UpstreamAuth` where there is none: codex itself would send the turn without a key."""
        self.login.check()

    def is_renewing_login(self) -> bool:
        """True while a child may be renewing the login: its end would destroy it."""
        return self.renewal.is_starting or any(map(self._may_renew, list(self._alive)))

    def note_login(self, *, accepted: bool) -> None:
        """Take what an answer told about the login."""
        if accepted:
            self.login.note_accepted()
        else:
            self.login.note_refused()

    # Turns

    def models(self, deadline: float) -> tuple[Model, ...]:
        """Return the child's models, waiting for its handshake until `deadline`. Raises `WorkerUnavailable`.

        Raises `UpstreamAuth` where no child is started for want of a login that can be kept.
        """
        if self.connection is None and self.login.is_read_only:
            self.login.check()
        if self.connection is not None and self.connection.models:
            return self.connection.models
        return self._ready_connection(deadline, NULL_OBSERVER, needs_login=False).models

    def open(
        self, request: TurnRequest, lease: Lease, deadline: float, observer: RequestObserver
    ) -> Turn:
        """Begin a turn on a thread of the child. See `app.backend.protocols.Backend`."""
        connection = self._ready_connection(deadline, observer)
        with mapped():
            return connection.threads.begin(request, lease, observer.turn)

    def _ready_connection(
        self, deadline: float, observer: RequestObserver, *, needs_login: bool = True
    ) -> Connection:
        if self._is_stopped:
            raise Draining("This worker is shutting down; send the request again.")
        with observer.waiting():
            while self.supervisor.wait_ready(max(0.0, deadline - time.monotonic())):
                connection = self.connection
                if connection is None or connection.channel.is_closed:
                    break
                if connection.login is not None or not (needs_login and self.login.is_used):
                    return connection
                self.login.check()
                # It was started before there was a login, and would send turns without a key.
                self.supervisor.replace(HealthProblem.LOGIN.value, is_useless=True)
                self._next.wait(_NEXT_S)
                if time.monotonic() >= deadline:
                    break
        raise WorkerUnavailable(
            "The codex process is not running yet; try again shortly.",
            retry_after_s=seconds_until(self.supervisor.backoff_until, time.monotonic()),
        )

    def __repr__(self) -> str:
        return f"<AppServerBackend {self.supervisor!r} {self.connection!r}>"
