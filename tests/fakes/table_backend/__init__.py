"""Backend that answers from a table: a second one, thrown away after its test, to see that a folder is all it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import count

from gevent.event import Event as Flag

from app.backend.account import AccountLimits
from app.backend.events import (
    Event,
    RawItem,
    ResponseCompleted,
    TextDelta,
    TurnEnded,
    TurnFailure,
    TurnStatus,
    Usage,
    UsageUpdated,
)
from app.backend.health import Health
from app.backend.lease import Lease
from app.backend.observer import RequestObserver, TurnFacts, TurnState
from app.backend.protocols import BackendHooks, Pace
from app.backend.request import Model, TurnRequest
from app.errors import GatewayError, WorkerUnavailable

USAGE = Usage(input=7, cached_input=2, output=3, reasoning_output=0, total=10)
DONE = (UsageUpdated(USAGE), TurnEnded(TurnStatus.COMPLETED))
CALL = {"type": "function_call", "name": "f", "call_id": "c1", "arguments": '{"a":1}'}

TABLE: Mapping[str, tuple[Event, ...]] = {
    "hello": (TextDelta("m", "hel"), TextDelta("m", "lo"), *DONE),
    "call": (RawItem(CALL), ResponseCompleted(USAGE)),
    "too long": (TurnEnded(TurnStatus.FAILED, TurnFailure("", "contextWindowExceeded")),),
    "break": (TextDelta("m", "so"), TurnEnded(TurnStatus.FAILED, TurnFailure("", "badRequest"))),
}


class TableTurn:
    """One row of the table, read event by event."""

    def __init__(self, number: int, events: tuple[Event, ...], lease: Lease) -> None:
        self.lease = lease
        self.started = time.monotonic()
        self.first_event_at: float | None = None
        self._number = number
        self._events = events
        self._state = TurnState.RUNNING

    @property
    def facts(self) -> TurnFacts:
        number = self._number
        return TurnFacts(f"thread-{number}", f"turn-{number}", 1, self._state, self.started)

    def follow(self, pace: Pace, since: float | None = None) -> Iterator[list[Event]]:
        for event in self._events:
            if self._state is not TurnState.RUNNING:
                return
            self.first_event_at = self.first_event_at or time.monotonic()
            yield [event]

    def close(self) -> None:
        self._state = TurnState.COMPLETED
        self.lease.turn_finished()
        self.lease.commit()


class TableBackend:
    """Runs until it is stopped, and has one model."""

    kind = "table_backend"
    upstream = "table"

    def __init__(self) -> None:
        self.account = AccountLimits()
        self.hooks = BackendHooks()
        self._numbers = count(1)
        self._over = Flag()

    def run(self) -> None:
        self._over.wait()

    def stop(self) -> None:
        self._over.set()

    def wait_ready(self, timeout_s: float) -> bool:
        return not self._over.is_set()

    def begin_drain(self) -> None: ...

    def end_turns(self, error: GatewayError) -> None: ...

    def health(self) -> Health:
        return Health(ready=True, generation=1)

    def account_mark(self) -> str:
        return ""

    def check_login(self) -> None: ...

    def is_renewing_login(self) -> bool:
        return False

    def note_login(self, *, accepted: bool) -> None: ...

    def models(self, deadline: float) -> tuple[Model, ...]:
        return (Model("table-1", ("low", "high"), "low"),)

    def open(
        self, request: TurnRequest, lease: Lease, deadline: float, observer: RequestObserver
    ) -> TableTurn:
        asked = request.items[-1]["content"][0]["text"]
        if asked not in TABLE:
            raise WorkerUnavailable("There is no such row.")
        return TableTurn(next(self._numbers), TABLE[asked], lease)
