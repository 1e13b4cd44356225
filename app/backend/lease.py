"""Lease of a slot by one turn: the slot is free once the turn is over *and* no other turn can take its place.

A turn that failed before its client saw anything is run once more, and so is one whose answer was not what was asked
for. The new turn inherits the slot of the old one: under load it would otherwise go to a request in the queue.
"""

from __future__ import annotations

from app.backend.admission import Slot


class Lease:
    """A slot, and whether its turn still needs it. Nothing here blocks; every method may be called again.

    `owner` is the name of the caller's key; `follows_loss` says that a process went away under the same request before.
    """

    __slots__ = ("_is_committed", "_is_finished", "_slot", "follows_loss", "owner")

    def __init__(self, slot: Slot | None = None, *, follows_loss: bool = False) -> None:
        self.owner = slot.owner if slot is not None else ""
        self.follows_loss = follows_loss
        self._slot = slot
        self._is_finished = False
        self._is_committed = False

    def turn_finished(self) -> None:
        """Note that the turn no longer runs in the child."""
        self._is_finished = True
        self._give_back()

    def commit(self) -> None:
        """Note that no other turn will take this one's place: its client has seen a part of the answer, or is gone."""
        self._is_committed = True
        self._give_back()

    def transfer(self) -> Slot | None:
        """Return the slot, which is the caller's from now on; None if it was given back already."""
        slot, self._slot = self._slot, None
        return slot

    def _give_back(self) -> None:
        if self._is_finished and self._is_committed and (slot := self.transfer()) is not None:
            slot.release()
