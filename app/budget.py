"""Budget of a counted resource, and reservations that give their part of it back exactly once. Pure.

No lock: nothing here yields between reading and changing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager


class Budget:
    """At most `limit` units in use at once. `refusal` makes the error that is raised where more are asked for."""

    def __init__(self, limit: int, refusal: Callable[[], Exception]) -> None:
        self.limit = limit
        self.used = 0
        self._refusal = refusal

    def check(self, amount: int = 1) -> None:
        """Raise the refusal if `amount` is not left."""
        if self.used + amount > self.limit:
            raise self._refusal()

    def reserve(self, amount: int = 1) -> Reservation:
        """Take `amount` until the reservation is released. Raises the refusal if there is not as much left."""
        reservation = Reservation(self)
        reservation.grow(amount)
        return reservation

    def take(self, amount: int) -> None:
        """Count `amount` as used; for `Reservation` and for subclasses. Raises the refusal."""
        self.check(amount)
        self.used += amount

    def give_back(self, amount: int) -> None:
        """Count `amount` as free again; for `Reservation` and for subclasses."""
        self.used -= amount

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.used}/{self.limit}>"


class Reservation(AbstractContextManager["Reservation"]):
    """A part of a budget, held until `release` or the end of a `with` block, whichever comes first."""

    def __init__(self, budget: Budget) -> None:
        self.amount = 0
        self._budget = budget

    def grow(self, amount: int) -> None:
        """Take more. Raises the budget's refusal and leaves what is held as it was."""
        self._budget.take(amount)
        self.amount += amount

    def shrink(self, amount: int) -> None:
        """Give a part back, at most what is held."""
        amount = min(amount, self.amount)
        if amount:
            self.amount -= amount
            self._budget.give_back(amount)

    def release(self) -> None:
        """Give everything back. A second call does nothing."""
        self.shrink(self.amount)

    def __exit__(self, *_: object) -> None:
        self.release()
