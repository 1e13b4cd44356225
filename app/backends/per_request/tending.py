"""Tending: the greenlet that sees whether processes can be started, keeps the stock full and the login fresh."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import gevent
from gevent.event import Event
from gevent.pool import Group

from app.backend.protocols import BackendHooks
from app.backend.request import Model
from app.backends.app_server.renewal import Renewal
from app.backends.app_server.shielded import run_shielded
from app.backends.per_request.dialect import Connection
from app.backends.per_request.pool import Pool
from app.backends.per_request.process import Process
from app.backends.per_request.readiness import Readiness
from app.backends.per_request.starter import Starter, StartFailed
from app.codex.few_roots import CHECK_EVERY_S
from app.codex.login import Login
from app.codex.upstream_models import UpstreamModels
from app.errors import UpstreamAuth
from app.process.lifecycle import LastExit

log = logging.getLogger("codex_api.codex")

_STALE_AFTER = 12
"""How many probes' time may pass without a start before one is tried."""

_MODELS_EVERY = 6
"""How many probes' time lies between two looks at the upstream's list of models."""


class Tending:
    """See the module. `interval_s` is that of the probe; `wake` is set where there is something to do."""

    def __init__(
        self,
        starter: Starter,
        pool: Pool,
        readiness: Readiness,
        login: Login,
        renewal: Renewal,
        *,
        hooks: Callable[[], BackendHooks],
        interval_s: float,
        wake: Event,
    ) -> None:
        self.models: tuple[Model, ...] = ()
        """What the last probe was offered."""
        self.user_agent = self.codex_version = ""
        self._starter = starter
        self._pool = pool
        self._readiness = readiness
        self._login = login
        self._renewal = renewal
        self._hooks = hooks
        self._interval_s = interval_s
        self._wake = wake
        self._renewing = Group()
        self._is_prepared = False

    def run(self) -> None:
        """Tend the pool until readiness is stopped. Blocks."""
        self._starter.on_unreached = self._check_roots
        watching = Group()
        watching.spawn(self._watch_models, self._starter.upstream_models)
        watching.spawn(self._watch_roots)
        try:
            self._readiness.start()
            while not self._readiness.is_stopped:
                with suppress(UpstreamAuth):  # the login was refused meanwhile: see the next step
                    self._step()
        finally:
            watching.kill()

    def _step(self) -> None:
        if self._readiness.is_backing_off:
            if self._readiness.await_backoff():
                self._hooks().on_restart()
        elif self._login.is_at_its_end:
            self._rest()  # until there is another one
        elif not self._is_prepared or self._is_stale():
            self._probe()
        elif self._pool.has_gap and not (self._login.is_lacking or self._login.is_due()):
            self._fill_gap()
        elif self._renewal.is_wanted:
            self._renew()
        else:
            self._rest()

    def _rest(self) -> None:
        self._wake.wait(self._interval_s)
        self._wake.clear()

    def _is_stale(self) -> bool:
        return time.monotonic() - self._pool.last_start > _STALE_AFTER * self._interval_s

    def _probe(self) -> None:
        """Start a process to see whether that can be done, and what it offers."""
        began = time.monotonic()
        process = self._start()
        if process is None:
            return
        self._is_prepared = True
        self._note_success(process, round((time.monotonic() - began) * 1000))
        try:
            if self._login.is_due():
                self._ask_to_renew(process)  # its start has tried in vain: for good?
        finally:
            if self._starter.folders.has_pattern:
                self._pool.put_back(process)
            else:
                self._pool.end(process, is_pattern=True)

    def _start(self) -> Process | None:
        """Start a process; None where that failed, which is noted. Blocks; raises `UpstreamAuth`."""
        try:
            if not self._is_prepared:
                self._starter.prepare()
            return self._pool.start()
        except StartFailed as failure:
            self.note_failure(failure.why)
        except UpstreamAuth:
            raise
        # What nobody has thought of keeps a process from starting as well, and may pass.
        except Exception as error:
            log.exception("child_start_failed", extra={"child": "codex", "detail": str(error)})
            self.note_failure(LastExit(None, "start_failed", str(error)))
        return None

    def _note_success(self, process: Process, handshake_ms: int) -> None:
        connection = process.connection
        self._note_version(connection)
        if connection.models != self.models:
            self.models = connection.models
            self._hooks().on_models(connection.models)
        self._readiness.succeeded(handshake_ms, process.child.pid, connection.codex_version)

    def _note_version(self, connection: Connection) -> None:
        """Say once that it is not the version that was tested."""
        found, tested = connection.codex_version, self._starter.dialect.version
        if found not in (tested, self.codex_version):
            fields = {"codex_version": found, "tested": tested}
            log.warning("codex_version_differs", extra=fields)
        self.user_agent, self.codex_version = connection.user_agent, found

    def note_failure(self, why: LastExit) -> None:
        """Note that a process could not be started, by whomever: requests wait until a probe can."""
        if why.reason != "stopped" and self._readiness.failed(why):
            self._is_prepared = False
            self._wake.set()

    def _fill_gap(self) -> None:
        process = self._start()
        if process is not None:
            self._pool.put_back(process)

    def _renew(self) -> None:
        """Renew a login that is soon due, on a process for that alone: then no turn has to."""
        process = self._start()
        if process is None:
            return
        try:
            self._ask_to_renew(process)
        finally:
            self._pool.put_back(process)
        gevent.sleep(self._interval_s)  # another one may be at it

    def _ask_to_renew(self, process: Process) -> None:
        """Let codex renew the login if that is wanted still; it also says where it never will. Blocks."""
        renewing = partial(self._renewal.renew, process.connection)
        run_shielded(self._renewing, renewing, lambda _: None)

    def _watch_models(self, models: UpstreamModels | None) -> None:
        """Read the upstream's list of models now and then; probe anew where it is another one. Blocks."""
        while models is not None and models.is_read:
            if self._is_prepared:
                models.refresh()
                if models.offer() != self._starter.offered:
                    self._is_prepared = False
                    self._wake.set()
            gevent.sleep(_MODELS_EVERY * self._interval_s)

    def _watch_roots(self) -> None:
        """Prove the few certificates of the processes now and then. Blocks."""
        while self._starter.few_roots is not None:
            if self._is_prepared:
                self._check_roots()
            gevent.sleep(CHECK_EVERY_S)

    def _check_roots(self) -> None:
        """Probe anew if a host is not trusted with the few certificates. Blocks for some seconds at most."""
        roots = self._starter.few_roots
        if roots is not None and roots.is_refuted():
            self._is_prepared = False
            self._wake.set()
