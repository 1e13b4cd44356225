"""Beginning of a turn: what is asked and under which terms, the load on the child, and an attempt that may be repeated.

A thread that was taken for good may turn out to be of no use. Nothing was said by then, so the same turn is begun once
more elsewhere: on the same slot, with an observer of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import gevent

from app.backend.lease import Lease
from app.backend.observer import TurnObserver
from app.backend.request import Item, TurnRequest
from app.backends.app_server.conversation import Asked
from app.backends.app_server.history import Load, Piece, in_pieces
from app.backends.app_server.kept_threads import Found
from app.backends.app_server.thread import Terms
from app.backends.app_server.turn import Origin, Turn
from app.backends.app_server.warm_threads import Warmth
from app.errors import RequestSuspected
from app.rpc.errors import ChannelClosed


@dataclass(slots=True)
class Beginning:
    """A turn that is being begun. `offered` are the bytes of its tools and its output schema.

    `lease` and `observer` are those of the attempt at hand. `found` and `warmth` are what came of looking for a thread
    that was kept, or warm; None where nobody looked.
    """

    request: TurnRequest
    terms: Terms
    offered: int
    asked: Asked
    lease: Lease
    new_observer: Callable[[], TurnObserver]
    observer: TurnObserver
    found: Found = Found.KEPT
    warmth: Warmth | None = None

    @property
    def origin(self) -> Origin:
        """What came of looking for a thread."""
        return Origin(self.found.value, self.warmth.value if self.warmth else "")

    def load(self, count: int = 0, before: int = 0) -> Load:
        """Return what the child is asked to take: all items but so many. `before` is what its thread holds already."""
        return load_of(self.request.items[count:], self.offered, before)

    def attempt(
        self, begin: Callable[[], Turn], refusals: tuple[type[Exception], ...]
    ) -> Turn | None:
        """Return the turn; None after one of these errors, and then all is ready for another attempt."""
        slot, follows_loss = self.lease.transfer(), self.lease.follows_loss
        # Each attempt empties its lease where it fails.
        self.lease = Lease(slot, follows_loss=follows_loss)
        try:
            return begin()
        except refusals:
            self.lease = Lease(slot, follows_loss=follows_loss)
            self.observer = self.new_observer()
            return None


def load_of(items: Sequence[Item], offered: int, before: int = 0) -> Load:
    """Return what items ask of the child. Lets others run where there are many, but not where there are few.

    A thread whose turn waits is given few, and nobody hears of its end between being taken and being given them.
    """
    pieces: list[Piece] = []
    for piece in in_pieces(items):
        if pieces:
            gevent.sleep(0)
        pieces.append(piece)
    return Load(tuple(pieces), offered, before)


@contextmanager
def suspecting(load: Load) -> Iterator[None]:
    """Raise `RequestSuspected` where the child goes away under what may be the reason for it."""
    try:
        yield
    except ChannelClosed as error:
        if load.is_suspect:
            raise suspected() from error
        raise


def suspected() -> RequestSuspected:
    """Return the error of a request that is so large that the child may have gone away because of it."""
    return RequestSuspected(
        "The codex process went away while it worked on this request. Because the request is large, which may be why, "
        "it is not tried again."
    )
