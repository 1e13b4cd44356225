"""Who watches a request on its way through codex: the interface, and the watcher that looks away.

The layers above implement it. Every method runs in whatever greenlet it happens in, the channel's reader included: it
must not block and must not raise.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from app.rpc.call_record import CallReport
from app.rpc.messages import Notification

if TYPE_CHECKING:
    from app.backends.app_server.turn import Turn


class TurnObserver(Protocol):
    """What happens to one turn, in this order; the reports of calls come at any time."""

    def called(self, report: CallReport) -> None:
        """A call to the child has its answer, or will not get one."""

    def began(self, turn: Turn) -> None:
        """The thread is there, so `closed` will come."""

    def notified(self, notification: Notification) -> None:
        """The child said something about this turn that we know."""

    def ended(self, turn: Turn) -> None:
        """The turn is given back, with its final state."""

    def closed(self) -> None:
        """The thread is gone, too: nothing more will come."""


class RequestObserver(Protocol):
    """What happens to one request."""

    def waiting(self) -> AbstractContextManager[None]:
        """Return a context for the time in which the request waits for a slot or for the child."""

    def turn(self) -> TurnObserver:
        """Return the watcher of one more turn."""


class NullObserver:
    """Sees nothing."""

    def waiting(self) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()

    def turn(self) -> TurnObserver:
        """Return itself."""
        return self

    def called(self, report: CallReport) -> None:
        """Do nothing."""

    def began(self, turn: Turn) -> None:
        """Do nothing."""

    def notified(self, notification: Notification) -> None:
        """Do nothing."""

    def ended(self, turn: Turn) -> None:
        """Do nothing."""

    def closed(self) -> None:
        """Do nothing."""


NULL_OBSERVER = NullObserver()
