"""Background answers of a worker: as many at once as may be, with a share for each key; found by owner and id."""

from __future__ import annotations

from collections.abc import Callable

import gevent

from app.budget import Reservation, SharedBudget, Shares
from app.errors import GatewayError, WorkerBusy
from app.http.background import BackgroundAnswer
from app.http.event_log import EventLog


class BackgroundAnswers:
    """At most `limit` answers that wait or run, and `event_bytes` of events kept for those who follow them.

    Where `is_split`, no key may have all of either. `on_full` is called where a log of events is given up.
    """

    def __init__(
        self,
        limit: int,
        event_bytes: int,
        *,
        is_split: bool = False,
        on_full: Callable[[], object] = lambda: None,
    ) -> None:
        self.places = SharedBudget(Shares(limit, is_split=is_split), _busy)
        self.event_bytes = SharedBudget(Shares(event_bytes, is_split=is_split), _busy)
        self._on_full = on_full
        self._answers: dict[tuple[str, str], BackgroundAnswer] = {}

    @property
    def is_idle(self) -> bool:
        """True if nothing is left to do."""
        return not self.places.shares.used

    def reserve(self, owner: str) -> Reservation:
        """Take a place, which `start` wants. Raises `WorkerBusy`."""
        return self.places.reserve(owner)

    def event_log(self, owner: str) -> EventLog:
        """Return an empty log of an owner's."""
        return EventLog(Reservation(self.event_bytes, owner), self._on_full)

    def start(
        self, owner: str, id_: str, answer: BackgroundAnswer, on_over: Callable[[], object]
    ) -> None:
        """Let an answer run on its own. `on_over` is called when nothing is left to do. Does not block."""
        self._answers[owner, id_] = answer
        gevent.spawn(self._run, (owner, id_), answer, on_over)

    def _run(
        self, name: tuple[str, str], answer: BackgroundAnswer, on_over: Callable[[], object]
    ) -> None:
        try:
            answer.work()
        finally:
            self.forget(*name)
            on_over()

    def find(self, owner: str, id_: str) -> BackgroundAnswer | None:
        """Return an answer that this worker works on, None if it does not."""
        return self._answers.get((owner, id_))

    def forget(self, owner: str, id_: str) -> None:
        """Find an answer no more."""
        self._answers.pop((owner, id_), None)

    def end(self, error: GatewayError) -> None:
        """End all of them with an error. Does not block."""
        for answer in [*self._answers.values()]:
            answer.end(error)

    def __repr__(self) -> str:
        return f"<BackgroundAnswers {self.places!r} events={self.event_bytes!r}>"


def _busy(is_share: bool) -> WorkerBusy:  # noqa: FBT001  (called by a budget)
    if is_share:
        return WorkerBusy(
            "Your key has as many background responses at this gateway as it may have beside others; try again shortly."
        )
    return WorkerBusy(
        "This gateway has as many background responses as it may have; try again shortly."
    )
