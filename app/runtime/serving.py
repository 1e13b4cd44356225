"""Worker class of the service: waits for its turn, serves, shuts down. Replaces gunicorn's main loop of a worker.

A worker polls the memory that it shares with the master, four times a second. It accepts at once if it is the one
that serves; else only when its child has shaken hands and the master has handed over. It retires when the word names
another generation. Signals only set a mark that the next poll finds: INT and HUP, which a terminal sends to the whole
process group, are the master's business.

Loaded by gunicorn's master, too, which must not load the application: what needs it is imported in the methods.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from types import FrameType
from typing import Any, cast

import gevent
from gevent.pool import Pool

from app.log_limiter import LogRateLimiter
from app.observability import logs
from app.runtime import forwarder_headers
from app.runtime.client_socket import ClientServer, ClientSocket, Deadlines
from app.runtime.first_bytes import FirstBytes
from app.runtime.places import Places
from app.runtime.shared import SharedState
from app.runtime.shutdown import ShutdownPlan, Stage, plan_shutdown
from app.runtime.worker import Worker, json_answer

log = logging.getLogger("codex_api.runtime")

_POLL_S = 0.25
_POLL_LEAVING_S = 0.1
_POLL_WAITING_S = 0.02
_HANDOVER_S = 2 * _POLL_WAITING_S
"""How long a successor waits for the one that served to see that it does no more. Connections wait in the kernel."""


class ServingWorker(Worker):
    """Worker of the service. `pre_fork` sets these three; `lacks_descriptors` is how many connections were given up."""

    memory: Any = None
    deadlines = Deadlines()
    lacks_descriptors = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stopped_at: float | None = None
        self._retired_at: float | None = None
        self._has_served = False
        self._pools: list[Pool] = []
        self._places = Places(int(self.worker_connections))
        self._ignored_headers: frozenset[str] = frozenset()
        self._log_limiter = LogRateLimiter()

    def init_signals(self) -> None:
        """Take TERM as a mark; leave INT and HUP to the master."""
        super().init_signals()
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        # A signal handler runs between two instructions of any greenlet: note it, do nothing else here.
        self._stopped_at = self._stopped_at or time.monotonic()

    def notify(self) -> None:
        """Send the heartbeat; where the master was killed, shut down as at TERM: gunicorn would cut every request."""
        self.tmp.notify()
        if self.ppid != os.getppid() and self._stopped_at is None:
            self.log.info("Parent changed, shutting down: %s", self)
            self._stopped_at = time.monotonic()

    def run(self) -> None:
        """Serve until the shutdown begins, then let requests finish. Blocks until the worker may exit."""
        if self.lacks_descriptors:
            fields = {"connections": self.worker_connections, "lacking": self.lacks_descriptors}
            log.warning("descriptors_short", extra=fields)
        self._shared = SharedState(self.memory)
        self._shared.booted = max(self.age, self._shared.booted)
        self._await_turn()
        servers: list[ClientServer] = []
        maintenance = self._services.maintenance
        if self._plan() is None:
            maintenance.begin_service()
            servers = [self._listen(listener) for listener in self.sockets]
        while self._plan() is None:
            self.notify()
            self._serve_a_while()
            maintenance.poll()
            self._make_enough_room()
            logs.tell_of_lost_lines()
        self.alive = False  # from now on every response says Connection: close
        for server in servers:
            server.close()
        for listener in self.sockets:
            listener.close()
        if servers:
            self._shut_down(servers)
        self._await_renewal()

    @property
    def _services(self) -> Any:
        return cast("Any", self.wsgi).extensions["worker_services"]

    def _serve_a_while(self) -> None:
        """Block until the next look at everything, or until another worker serves.

        Two that accept would take the rounds of one conversation by turns, and each miss what the other was told.
        """
        ends = time.monotonic() + _POLL_S
        while self._shared.serving == self.age and time.monotonic() < ends:
            gevent.sleep(_POLL_WAITING_S)

    def _await_turn(self) -> None:
        """Block until this worker is to accept connections, or to shut down."""
        shared = self._shared
        is_successor = shared.serving != self.age
        while shared.serving != self.age and self._plan() is None:
            self.notify()
            gevent.sleep(_POLL_WAITING_S)
            if shared.ready < self.age and self._services.wait_ready(_POLL_S):
                shared.ready = self.age
                self._wake_master()
        if is_successor:
            gevent.sleep(_HANDOVER_S)

    def _wake_master(self) -> None:
        """Let the master take its next step now and not within a second: at SIGCHLD it only collects dead children."""
        if os.getppid() == self.ppid:
            with suppress(OSError):
                os.kill(self.ppid, signal.SIGCHLD)

    def _listen(self, listener: Any) -> ClientServer:
        self._has_served = True
        listener.setblocking(1)
        handle = partial(self.handle, listener)
        pool = Pool(self.worker_connections)
        self._pools.append(pool)
        server = ClientServer(listener, self.deadlines, self.queue, self, handle=handle, spawn=pool)
        server.start()
        return server

    def admit(self, first: FirstBytes, caller: str | None) -> bool:
        """Return whether a new connection is let in; where room runs out, another one that only waits ends for it.

        One that finds no room is not kept waiting: others wait behind it, health checks among them.
        """
        free, places = self._free, self._places
        if free < self.room and not places.finds_room(first, caller, free, self.make_room):
            self.note_cut("made_room")
            return False
        places.enter(caller)
        return True

    def refusal(self) -> bytes:
        """Return the answer for a request that finds no room."""
        return json_answer(HTTPStatus.TOO_MANY_REQUESTS)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection to its end."""
        try:
            super().handle(listener, client, addr)
        finally:
            self._places.leave(client.caller)

    def know(self, client: ClientSocket, caller: str | None) -> None:
        """See `Worker`."""
        self._places.leave(client.caller)
        super().know(client, caller)
        self._places.enter(caller)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """Serve one request of a connection, whose path and method are those of its first line."""
        req.headers, ignored = forwarder_headers.without(req.headers)
        if not ignored <= self._ignored_headers:
            self.note_ignored(ignored)
        return super().handle_request(listener_name, req, sock, addr)

    def note_ignored(self, names: frozenset[str]) -> None:
        """Say once for each name that it means nothing here."""
        log.info("headers_ignored", extra={"headers": sorted(names - self._ignored_headers)})
        self._ignored_headers |= names

    def caller_of(self, authorization: str) -> str | None:
        """Return the name of the key, of whatever kind, that the application knows."""
        application: Any = self.wsgi
        name: str | None = application.extensions["caller_of"](authorization)
        return name

    @property
    def room(self) -> int:
        """Number of connections that are kept free for health checks, as long as there is one that only waits."""
        return self._places.kept_free

    @property
    def is_full(self) -> bool:
        """See `Worker`."""
        return self._free == 0

    @property
    def _free(self) -> int:
        return min(map(Pool.free_count, self._pools))

    def _make_enough_room(self) -> None:
        """End what only waits where nothing is accepted any more, for which `handle` is then not called."""
        for _ in range(self.room - self._free):
            if not self.make_room():
                return

    def on_exhausted(self) -> None:
        """Make as much room as can be used at once."""
        for _ in range(ClientServer.max_accept):  # as many as will be accepted at once
            if not self.make_room():
                break
        withheld = self._log_limiter.allow("descriptors_exhausted")
        if withheld is not None:
            log.error("descriptors_exhausted", extra={"withheld": withheld})

    def note_cut(self, reason: str) -> None:
        """Count a connection that was ended from this side."""
        cast("Any", self.wsgi).extensions["services"].metrics.connection_cut(reason)

    # Shutdown

    def _plan(self) -> ShutdownPlan | None:
        grace_ms = self._shared.stop_grace_ms
        if grace_ms is not None:
            self._stopped_at = self._stopped_at or time.monotonic()
        elif self._stopped_at is not None and not self._has_served:
            # A successor that is dismissed has no requests; its child, which may be renewing the login, has time.
            self._retired_at, self._stopped_at = self._retired_at or self._stopped_at, None
        if self._has_served and self._shared.serving != self.age:
            self._retired_at = self._retired_at or time.monotonic()
        return plan_shutdown(
            self._services.grace,
            retired_at=self._retired_at,
            stopped_at=self._stopped_at,
            stop_grace_s=None if grace_ms is None else grace_ms / 1000,
        )

    def _shut_down(self, servers: list[ClientServer]) -> None:
        """Let requests finish, then cut them, then abort what hangs; return when nothing is left or time is up."""
        known: ShutdownPlan | None = None
        stage = Stage.FINISHING
        while plan := self._plan():  # marks are never taken back
            if known is None or known.is_stop != plan.is_stop:
                known = plan
                self._services.begin_shutdown(plan, time.monotonic())
            entered = plan.stage(time.monotonic())
            if entered is not stage:
                stage = entered
                self._end_requests(stage)
            if stage is Stage.OVER or not (any(map(len, self._pools)) or self._has_work):
                break
            self.notify()
            self.close_idle(plan.close_idle_after_s)
            gevent.sleep(_POLL_LEAVING_S)
        for server in servers:
            server.stop(timeout=1)

    @property
    def _has_work(self) -> bool:
        """True while something runs that no connection carries."""
        return not self._services.is_idle()

    def _await_renewal(self) -> None:
        """Block while the child renews the service's login, for as long as the grace allows."""
        while (plan := self._plan()) and time.monotonic() < plan.cut_at:
            if not self._services.backend.is_renewing_login():
                return
            self.notify()
            gevent.sleep(_POLL_LEAVING_S)

    def _end_requests(self, stage: Stage) -> None:
        error = self._services.end_turns()
        if stage is Stage.ABORTING:
            # Whatever a request still waits for, this is its answer, or the last frame of its stream.
            for pool in self._pools:
                pool.kill(error, block=False)
