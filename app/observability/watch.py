"""Watches requests on their way through codex: how long they waited, how their turns ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.codex.turn import Turn
from app.codex.watch import TurnWatch, Unwatched
from app.observability.metrics import Metrics
from app.observability.requests import RequestRecord


class CountedTurn(Unwatched):
    """Counts one turn when it is given back."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def ended(self, turn: Turn) -> None:
        """Count it, with its state and how long it took."""
        self._metrics.turn_ended(turn.state, (time.monotonic() - turn.started) * 1000)


class RequestWatch:
    """See `app.codex.watch.Watch`."""

    def __init__(self, record: RequestRecord, metrics: Metrics) -> None:
        self._record = record
        self._metrics = metrics

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Add the time inside to the record, also where the wait was in vain."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._record.note_wait(time.monotonic() - began)

    def turn(self) -> TurnWatch:
        """Return the watcher of one more turn."""
        return CountedTurn(self._metrics)
