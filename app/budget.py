"""Budget of a counted resource, shares of owners in one, and reservations that give back exactly once. Pure.

An owner is the name of a client key. Where several share a budget, one may have three quarters of what the others
leave, never all: one alone leaves a quarter, and each that comes finds something. So who has most is refused first, and
nobody has to say beforehand how many there will be.

No lock: nothing here yields between reading and changing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self


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
        self.take("", amount)
        return Reservation(self, "", amount)

    def take(self, _owner: str, amount: int) -> None:
        """Count `amount` as used, whoever asks; for `Reservation`. Raises the refusal."""
        self.check(amount)
        self.used += amount

    def give_back(self, _owner: str, amount: int) -> None:
        """Count `amount` as free again; for `Reservation`."""
        self.used -= amount

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.used}/{self.limit}>"


class Shares:
    """What owners have of `limit` units. Without `is_split` one may have all.

    Up to `floor` units, and what it asks for while it has none, are never more than an owner's share.
    """

    def __init__(self, limit: int, *, is_split: bool, floor: int = 0) -> None:
        self.limit = limit
        self.used = 0
        self._is_split = is_split
        self._floor = floor
        self._of: dict[str, int] = {}

    def of(self, owner: str) -> int:
        """Return what an owner has."""
        return self._of.get(owner, 0)

    def by_owner(self) -> dict[str, int]:
        """Return what each owner has; one that has nothing is not there."""
        return dict(self._of)

    def may_have(self, owner: str, amount: int) -> bool:
        """Return True if that much more is within the owner's share, whether or not it is free now."""
        has = self._of.get(owner, 0)
        left_by_others = self.limit - (self.used - has)
        if not self._is_split:
            return has + amount <= self.limit
        return not has or has + amount <= max(self._floor, left_by_others * 3 // 4)

    def add(self, owner: str, amount: int) -> None:
        """Count that much more as the owner's; less, if it is negative."""
        self.used += amount
        has = self._of.get(owner, 0) + amount
        if has:
            self._of[owner] = has
        else:
            self._of.pop(owner, None)


class SharedBudget:
    """Budget of several owners.

    `refusal` makes the error that is raised where more is asked for: of True where the owner's share is used up, of
    False where all is.
    """

    def __init__(self, shares: Shares, refusal: Callable[[bool], Exception]) -> None:
        self.shares = shares
        self._refusal = refusal

    def check(self, owner: str, amount: int = 1) -> None:
        """Raise the refusal if the owner may not have `amount` now."""
        if self.shares.used + amount > self.shares.limit:
            raise self._refusal(False)
        if not self.shares.may_have(owner, amount):
            raise self._refusal(True)

    def reserve(self, owner: str, amount: int = 1) -> Reservation:
        """Take `amount` until the reservation is released. Raises the refusal."""
        self.take(owner, amount)
        return Reservation(self, owner, amount)

    def take(self, owner: str, amount: int) -> None:
        """Count `amount` as used; for `Reservation` and for subclasses. Raises the refusal."""
        self.check(owner, amount)
        self.shares.add(owner, amount)

    def give_back(self, owner: str, amount: int) -> None:
        """Count `amount` as free again; for `Reservation` and for subclasses."""
        self.shares.add(owner, -amount)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shares.used}/{self.shares.limit}>"


class Reservation:
    """A part of a budget, held until `release` or the end of a `with` block, whichever comes first.

    `owner` is whose share it is of, if the budget has shares; `amount` was taken for it already. Small: an open stream
    has several of them.
    """

    __slots__ = ("_budget", "_owner", "amount")

    def __init__(self, budget: Budget | SharedBudget, owner: str, amount: int = 0) -> None:
        self.amount = amount
        self._budget = budget
        self._owner = owner

    def grow(self, amount: int) -> None:
        """Take more. Raises the budget's refusal and leaves what is held as it was."""
        self._budget.take(self._owner, amount)
        self.amount += amount

    def shrink(self, amount: int) -> None:
        """Give a part back, at most what is held."""
        amount = min(amount, self.amount)
        if amount:
            self.amount -= amount
            self._budget.give_back(self._owner, amount)

    def release(self) -> None:
        """Give everything back. A second call does nothing."""
        self.shrink(self.amount)

    def __enter__(self) -> Self:
        """Return the reservation."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self.release()
