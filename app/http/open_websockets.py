"""Budgets of WebSockets: how many are open at once, and what is kept for their conversations. Each key has a share."""

from __future__ import annotations

from app.budget import SharedBudget, Shares
from app.errors import WorkerBusy


class OpenWebSockets:
    """At most `limit` of them at once, 0 for none at all, and `answer_bytes` of answers that they go on with.

    Where `is_split`, no key may have all of either. Both raise `WorkerBusy`. One may be idle for `idle_s`, and is open
    for `age_s` at most.
    """

    def __init__(
        self, limit: int, answer_bytes: int, idle_s: float, age_s: float, *, is_split: bool = False
    ) -> None:
        self.places = SharedBudget(Shares(limit, is_split=is_split), _busy)
        self.answers = SharedBudget(Shares(answer_bytes, is_split=is_split), _busy)
        self.idle_s = idle_s
        self.age_s = age_s

    def __repr__(self) -> str:
        return f"<OpenWebSockets {self.places!r} answers={self.answers!r}>"


def _busy(is_share: bool) -> WorkerBusy:  # noqa: FBT001  (called by a budget)
    if is_share:
        return WorkerBusy(
            "Your key has as many WebSockets open at this gateway as it may have beside others; try again shortly."
        )
    return WorkerBusy("This gateway has as many WebSockets open as it may have; try again shortly.")
