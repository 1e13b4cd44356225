"""A slot in the name of one turn: it goes back once the turn is over *and* nothing can take its place any more.

A turn that failed before its client saw anything is run once more, and so is one whose answer was not what was asked
for. The new turn inherits the slot of the old one: under load it would otherwise go to somebody in the queue.
"""

from __future__ import annotations

from app.backend.admission import Slot


class Lease:
    """See the module. Nothing here blocks; every method may be called again."""

    def __init__(self, slot: Slot | None = None) -> None:
        self._slot = slot
        self._is_over = False
        self._is_settled = False

    def turn_over(self) -> None:
        """The turn no longer runs in the child."""
        self._is_over = True
        self._give_back()

    def settle(self) -> None:
        """No other turn will take this one's place: its client has seen a part of the answer, or is gone."""
        self._is_settled = True
        self._give_back()

    def take(self) -> Slot | None:
        """Hand the slot on; None if it was given back already."""
        slot, self._slot = self._slot, None
        return slot

    def _give_back(self) -> None:
        if self._is_over and self._is_settled and (slot := self.take()) is not None:
            slot.release()
