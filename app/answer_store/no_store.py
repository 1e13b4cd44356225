"""Store that is switched off: no answer is kept, none is found, and usage is counted in memory alone. Pure."""

from __future__ import annotations

from app.answer_store.stored_answer import StoredAnswer, Totals
from app.answer_store.usage_counts import Counts, RowName, Tally, UsageBatch, UsageQuery


class NoStore:
    """An `AnswerStore` in which no answer ever is."""

    kind = "off"
    is_on = False
    totals = Totals()
    problem: str | None = None

    def __init__(self) -> None:
        self._usage = Tally()

    def put(self, stored: StoredAnswer) -> None:
        """Do nothing."""

    def get(self, owner: str, id_: str) -> StoredAnswer | None:
        """Find nothing."""
        return None

    def find(self, owner: str, part: str) -> StoredAnswer | None:
        """Find nothing."""
        return None

    def chain(self, owner: str, id_: str) -> tuple[StoredAnswer, ...] | None:
        """Find nothing."""
        return None

    def delete(self, owner: str, id_: str) -> bool:
        """Find nothing."""
        return False

    def hold(self, owner: str, id_: str, holder: str, answer: bytes = b"") -> bool:
        """Find nothing."""
        return False

    def settle(self, stored: StoredAnswer, holder: str) -> bool:
        """Find nothing."""
        return False

    def is_held(self, owner: str, id_: str) -> bool:
        """Find nothing."""
        return False

    def add_usage(self, batch: UsageBatch, *, is_last: bool = False) -> int:
        """Add counts, which end with the worker; return how many requests found no row of their own."""
        before = self._usage.displaced
        self._usage.forget(batch.oldest)
        self._usage.add_all(batch.rows)
        return self._usage.displaced - before

    def usage(self, query: UsageQuery) -> dict[RowName, Counts]:
        """Return rows of usage, the newest day first."""
        return self._usage.found(query)

    def start(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return "<NoStore>"
