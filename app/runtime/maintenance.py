"""Maintenance flag in the memory that the workers share: one truth for every worker of a master.

What was set at the endpoint wins until it is reset there or the setting *changes*. A setting that now says `true`
counts as soon as a worker has loaded it, whether or not its child ever starts; one that says `false` counts when that
worker serves. An end that comes by itself changes nothing in the memory: it follows from the record and the time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from app.http.maintenance_flag import Maintenance, Source, utc
from app.runtime.shared import SharedState

log = logging.getLogger("codex_api.runtime")


class SharedMaintenanceFlag:
    """See `app.http.maintenance_flag.MaintenanceFlag`. `configured` is the setting; `clock` gives Unix seconds."""

    def __init__(self, *, configured: bool, clock: Callable[[], float] = time.time) -> None:
        self._configured = configured
        self._clock = clock
        self._polled_at = clock()
        self._shared = SharedState.private()  # until a worker adopts the application
        self._shared.maintenance = initial_flag(None, configured, self._polled_at)

    def adopt(self, shared: SharedState) -> None:
        """Take the memory that the master shares with its workers; what the setting switches on is on from here."""
        self._shared = shared
        if initial_flag(shared.maintenance, self._configured, self._clock()).is_on:
            self._apply_setting()

    def begin_service(self) -> None:
        """Make the setting count: this worker serves from now on."""
        self._apply_setting()
        self._polled_at = self._clock()

    def poll(self) -> None:
        """Log an end that has come by itself since the last poll. The worker that serves polls all the time."""
        now, flag = self._clock(), self._stored()
        if flag.is_over(now) and not flag.is_over(self._polled_at):
            _log(flag.at(now))
        self._polled_at = now

    def state(self) -> Maintenance:
        """Return what holds now."""
        return self._stored().at(self._clock())

    def set(self, order: Maintenance) -> Maintenance:
        """Set the flag, for every worker. Only maintenance has a reason and an end."""
        now = self._clock()
        # A worker that is about to go may know an older setting than the one that serves: the record's counts.
        configured = self._stored().configured
        wanted = order if order.is_on else Maintenance(False)
        flag = replace(wanted, set_by=Source.ENDPOINT, since=now, configured=configured)
        return self._write(flag, now)

    def reset(self) -> Maintenance:
        """Go back to the setting, for every worker."""
        now, configured = self._clock(), self._stored().configured
        return self._write(initial_flag(None, configured, now), now)

    def _stored(self) -> Maintenance:
        """Return what is written; where nothing is, what the setting says."""
        found = self._shared.maintenance
        return found or initial_flag(None, self._configured, self._clock())

    def _apply_setting(self) -> None:
        now, found = self._clock(), self._shared.maintenance
        flag = initial_flag(found, self._configured, now)
        if flag is not found:
            self._write(flag, now)

    def _write(self, flag: Maintenance, now: float) -> Maintenance:
        found = self._shared.maintenance
        self._shared.maintenance = flag
        state = flag.at(now)
        if state.is_on or (found is not None and found.at(now).is_on):
            _log(state)
        return state


def initial_flag(found: Maintenance | None, configured: bool, now: float) -> Maintenance:  # noqa: FBT001
    """Return the flag that a worker begins to serve with: what is there, unless the setting has a new value."""
    if found is not None and found.configured == configured:
        return found
    return Maintenance(configured, since=now, configured=configured)


def _log(state: Maintenance) -> None:
    """Not the reason: a person wrote it."""
    log.warning(
        "maintenance_changed",
        extra={
            "is_on": state.is_on,
            "set_by": state.set_by.value,
            "until": None if state.until is None else utc(state.until),
            "retry_after_s": state.retry_after_s,
        },
    )
