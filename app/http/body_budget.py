"""Budget of request bodies: the bytes of all of them together, and how many arrive at once.

One body has a limit of its own; thousands within it would still fill the machine.
"""

from __future__ import annotations

from functools import partial

from app.budget import Budget
from app.errors import WorkerBusy

BLOCK_BYTES = 64 * 1024
"""How much of a body is read at a time. As much is set aside for each body that arrives, however slowly."""


class BodyBudget:
    """At most `limit` bytes, and `most_arriving` bodies at once that are not whole yet. Both raise `WorkerBusy`."""

    def __init__(self, limit: int, most_arriving: int) -> None:
        self.memory = Budget(
            limit, partial(_busy, "This gateway holds as many request bodies as it can")
        )
        self.arriving = Budget(
            most_arriving, partial(_busy, "Too many request bodies are arriving at this gateway")
        )

    def __repr__(self) -> str:
        return f"<BodyBudget memory={self.memory} arriving={self.arriving}>"


def _busy(what: str) -> WorkerBusy:
    return WorkerBusy(f"{what}; try again shortly.", code="BODIES_FULL")
