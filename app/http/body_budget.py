"""Budget of request bodies: the bytes of all of them together, and how many arrive at once.

One body has a limit of its own; thousands within it would still fill the machine. Each key has a share.
"""

from __future__ import annotations

from functools import partial

from app.budget import SharedBudget, Shares
from app.errors import WorkerBusy

BLOCK_BYTES = 64 * 1024
"""How much of a body is read at a time. As much is set aside for each body that arrives, however slowly."""


class BodyBudget:
    """At most `limit` bytes, and `most_arriving` bodies at once that are not whole yet. Both raise `WorkerBusy`.

    Where `is_split`, no key may have all of either; `longest` bytes it may always have, if they are free.
    """

    def __init__(
        self, limit: int, most_arriving: int, *, is_split: bool = False, longest: int = 0
    ) -> None:
        self.memory = SharedBudget(
            Shares(limit, is_split=is_split, floor=longest),
            partial(
                _busy,
                "This gateway holds as many request bodies as it can",
                "The request bodies of your key take as much of this gateway's memory as they may beside others",
            ),
        )
        self.arriving = SharedBudget(
            Shares(most_arriving, is_split=is_split),
            partial(
                _busy,
                "Too many request bodies are arriving at this gateway",
                "As many request bodies of your key are arriving at this gateway as may beside others",
            ),
        )

    def __repr__(self) -> str:
        return f"<BodyBudget memory={self.memory} arriving={self.arriving}>"


def _busy(all_in_use: str, share_in_use: str, is_share: bool) -> WorkerBusy:  # noqa: FBT001  (called by a budget)
    what = share_in_use if is_share else all_in_use
    return WorkerBusy(f"{what}; try again shortly.", code="BODIES_FULL")
