"""What the bodies of all requests take together: while they arrive, and while they are answered.

One body has a limit of its own; thousands within it would still fill the machine. No lock: nothing here yields between
reading and changing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import WorkerBusy

BLOCK_BYTES = 64 * 1024
"""How much of a body is read at a time. As much is set aside for each body that arrives, however slowly."""


class BodyBudget:
    """At most `limit` bytes, and `most_arriving` bodies at once that are not whole yet."""

    def __init__(self, limit: int, most_arriving: int) -> None:
        self.held = 0
        self.arriving = 0
        self._limit = limit
        self._most_arriving = most_arriving

    def share(self) -> Reservation:
        """Return what one request holds: nothing yet."""
        return Reservation(self)

    def begin(self) -> None:
        """Count a body that begins to arrive. Raises `WorkerBusy`."""
        if self.arriving >= self._most_arriving:
            raise _full("Too many request bodies are arriving at this gateway; try again shortly.")
        self.arriving += 1

    def hold(self, size: int) -> None:
        """Set bytes aside. Raises `WorkerBusy` if there are not as many."""
        if self.held + size > self._limit:
            raise _full("This gateway holds as many request bodies as it can; try again shortly.")
        self.held += size

    def __repr__(self) -> str:
        return f"<BodyBudget held={self.held}/{self._limit} arriving={self.arriving}>"


class Reservation:
    """What one request's body takes of it."""

    def __init__(self, memory: BodyBudget) -> None:
        self._memory = memory
        self._size = 0

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Count the body as one that arrives, for the length of the block. Raises `WorkerBusy`."""
        self._memory.begin()
        try:
            yield
        finally:
            self._memory.arriving -= 1

    @contextmanager
    def block(self, most: int) -> Iterator[int]:
        """Set aside what the next block may take, and yield how much that is; `keep` is what it took.

        Raises `WorkerBusy`.
        """
        size = min(most, BLOCK_BYTES)
        self._memory.hold(size)
        try:
            yield size
        finally:
            self._memory.held -= size

    def keep(self, size: int) -> None:
        """Hold what was read, until `release`."""
        self._memory.held += size
        self._size += size

    def release(self) -> None:
        """Give everything back. A second call does nothing."""
        size, self._size = self._size, 0
        self._memory.held -= size


def _full(message: str) -> WorkerBusy:
    return WorkerBusy(message, code="BODIES_FULL")
