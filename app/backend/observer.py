"""Observers of requests and turns: the interface, and one that observes nothing.

The layers above implement it. Every method runs in whatever greenlet it happens in, the reader of a channel included:
it must not block and must not raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from app.errors import GatewayError
from app.rpc.calls import CallReport
from app.rpc.messages import Notification

KEPT = "kept"
WARM = "warm"


class TurnState(Enum):
    """State of a turn. ABANDONED: closed while it ran; codex has not confirmed its end yet."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """Facts of a turn at one moment, for observers and summaries.

    `generation` numbers the process that runs it, `started` is in monotonic seconds, `error` says why the gateway ended
    it, if it did. `lookup` is what came of looking for where the conversation was left: `KEPT`, or a word for why the
    turn had to begin anew; a backend that keeps nothing leaves it empty. `warmth` is the same for a turn that began
    anew: `WARM` where a thread was started ahead of it, or a word for why there was none.
    """

    thread_id: str
    turn_id: str | None
    generation: int
    state: TurnState
    started: float
    error: GatewayError | None = None
    lookup: str = ""
    warmth: str = ""

    @property
    def is_continued(self) -> bool:
        """True if the turn goes on where an earlier one left the conversation."""
        return self.lookup == KEPT


class TurnObserver(Protocol):
    """Observer of one turn. The methods are called in this order; `called` at any time."""

    def called(self, report: CallReport) -> None:
        """A call to the process has its answer, or will not get one."""

    def began(self, facts: TurnFacts) -> None:
        """The thread exists, so `closed` will come."""

    def notified(self, notification: Notification) -> None:
        """The process said something about this turn that the gateway knows."""

    def said(self, texts: Sequence[str], size: int) -> None:
        """The process said pieces of text of this turn, in lines of so many bytes, of which nothing else is told."""

    def ended(self, facts: TurnFacts) -> None:
        """The turn is given back, with its final state."""

    def closed(self, facts: TurnFacts) -> None:
        """The thread is gone, too: nothing more will come. Only now are all ids certain."""


class RequestObserver(Protocol):
    """Observer of one request on its way through the backend."""

    def waiting(self) -> AbstractContextManager[None]:
        """Return a context for the time in which the request waits for a slot or for the backend."""

    def turn(self) -> TurnObserver:
        """Return the observer of one more turn."""


class NullObserver:
    """Observer that ignores everything: a base for those that need some of the calls only."""

    def waiting(self) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()

    def turn(self) -> TurnObserver:
        """Return itself."""
        return self

    def called(self, report: CallReport) -> None:
        """Ignore the call."""

    def began(self, facts: TurnFacts) -> None:
        """Ignore the beginning."""

    def notified(self, notification: Notification) -> None:
        """Ignore the notification."""

    def said(self, texts: Sequence[str], size: int) -> None:
        """Ignore the pieces."""

    def ended(self, facts: TurnFacts) -> None:
        """Ignore the end."""

    def closed(self, facts: TurnFacts) -> None:
        """Ignore the close."""


NULL_OBSERVER = NullObserver()
