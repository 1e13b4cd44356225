"""The maintenance flag: one truth for every worker of a master, in the memory that they share.

What was set at the endpoint wins until it is reset there or the setting *changes*. A setting that now says `true`
counts as soon as a worker has loaded it, whether or not its child ever starts; one that says `false` counts when that
worker serves. An end that comes by itself changes nothing in the memory: it follows from the record and the time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from app.http.maintenance_flag import MaintenanceSpec, Source, State, utc
from app.runtime.layout import Maintenance, settle
from app.runtime.shared import SharedState

log = logging.getLogger("codex_api.runtime")


class MaintenanceSwitch:
    """See `app.http.maintenance_flag.MaintenanceFlag`. `configured` is the setting; `clock` gives Unix seconds."""

    def __init__(self, *, configured: bool, clock: Callable[[], float] = time.time) -> None:
        self._configured = configured
        self._clock = clock
        self._looked_at = clock()
        self._shared = SharedState.private()  # until a worker adopts the application
        self._shared.maintenance = settle(None, configured, self._looked_at)

    def adopt(self, shared: SharedState) -> None:
        """Take the memory that the master shares with its workers; what the setting switches on is on from here."""
        self._shared = shared
        if settle(shared.maintenance, self._configured, self._clock()).is_on:
            self._settle()

    def begin_service(self) -> None:
        """Make the setting count: this worker serves from now on."""
        self._settle()
        self._looked_at = self._clock()

    def look(self) -> None:
        """Log an end that has come by itself since the last look. The worker that serves looks all the time."""
        now, record = self._clock(), self._record()
        if record.ended_between(self._looked_at, now):
            _log(state_of(record, now))
        self._looked_at = now

    def state(self) -> State:
        """Return what holds now."""
        return state_of(self._record(), self._clock())

    def obey(self, order: MaintenanceSpec) -> State:
        """Set the flag, for every worker."""
        now = self._clock()
        # A worker that is about to go may know an older setting than the one that serves: the record's counts.
        record = record_of(order, env_value=self._record().env_value, now=now)
        return self._write(record, now)

    def forget(self) -> State:
        """Go back to the setting, for every worker."""
        now, env_value = self._clock(), self._record().env_value
        return self._write(Maintenance(env_value, env_value, changed_at=now), now)

    def _record(self) -> Maintenance:
        """Return what is written; where nothing is, what the setting says."""
        found = self._shared.maintenance
        return settle(None, self._configured, self._clock()) if found is None else found

    def _settle(self) -> None:
        now = self._clock()
        found = self._shared.maintenance
        settled = settle(found, self._configured, now)
        if settled is not found:
            self._write(settled, now)

    def _write(self, record: Maintenance, now: float) -> State:
        found = self._shared.maintenance
        was_on = found is not None and found.is_on and not found.is_over(now)
        self._shared.maintenance = record
        state = state_of(record, now)
        if was_on or state.is_on:
            _log(state)
        return state


def state_of(record: Maintenance, now: float) -> State:
    """Return what the record means at that time."""
    if record.is_over(now):
        return State(MaintenanceSpec(False), Source.UNTIL, record.until, record.env_value)
    set_by = Source.ENDPOINT if record.by_endpoint else Source.SETTING
    order = MaintenanceSpec(
        record.is_on, record.reason, record.until or None, record.retry_after_s or None
    )
    return State(order, set_by, record.changed_at, record.env_value)


def record_of(order: MaintenanceSpec, *, env_value: bool, now: float) -> Maintenance:
    """Return the record of an order that came through the endpoint. Only maintenance has a reason and an end."""
    if not order.is_on:
        order = MaintenanceSpec(False)
    return Maintenance(
        order.is_on,
        env_value,
        by_endpoint=True,
        retry_after_s=order.retry_after_s or 0,
        until=order.until or 0.0,
        changed_at=now,
        reason=order.reason,
    )


def _log(state: State) -> None:
    """Not the reason: a person wrote it."""
    order = state.order
    log.warning(
        "maintenance_changed",
        extra={
            "is_on": order.is_on,
            "set_by": state.set_by.value,
            "until": None if order.until is None else utc(order.until),
            "retry_after_s": order.retry_after_s,
        },
    )
