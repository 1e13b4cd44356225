"""Store that is switched off: nothing is kept, nothing is found. Pure."""

from __future__ import annotations

from app.answer_store.stored_answer import StoredAnswer, Totals


class NoStore:
    """An `AnswerStore` in which nothing ever is."""

    kind = "off"
    is_on = False
    totals = Totals()
    problem: str | None = None

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

    def start(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return "<NoStore>"
