"""Answers of one connection: what its conversations go on with, as long as it lives, where nothing is stored. Pure."""

from __future__ import annotations

from collections.abc import Callable

from app.answer_store.stored_answer import StoredAnswer
from app.budget import Reservation
from app.errors import WorkerBusy


class ConnectionAnswers:
    """Answers by their ids. `room` is what they take: where it is not to be had, the oldest go; `on_gone` is called.

    No lock: nothing here yields between reading and changing.
    """

    def __init__(self, room: Reservation, on_gone: Callable[[], object] = lambda: None) -> None:
        self._room = room
        self._on_gone = on_gone
        self._answers: dict[str, StoredAnswer] = {}

    def keep(self, answer: StoredAnswer) -> None:
        """Keep an answer, if there is room for it."""
        while True:
            try:
                self._room.grow(answer.cost)
            except WorkerBusy:
                self._on_gone()
                if not self._answers:
                    return
                self.forget(next(iter(self._answers)))
            else:
                self._answers[answer.id] = answer
                return

    def chain(self, id_: str | None) -> tuple[tuple[StoredAnswer, ...], str | None]:
        """Return an answer with what it continues, the oldest first, and the id of what they stand on elsewhere."""
        found: list[StoredAnswer] = []
        while id_ is not None and (answer := self._answers.get(id_)) is not None:
            found.append(answer)
            id_ = answer.before
        return tuple(reversed(found)), id_

    def forget(self, id_: str | None) -> None:
        """Keep an answer no more."""
        if id_ is not None and (answer := self._answers.pop(id_, None)) is not None:
            self._room.shrink(answer.cost)

    def clear(self) -> None:
        """Keep none."""
        self._answers = {}
        self._room.release()

    def __repr__(self) -> str:
        return f"<ConnectionAnswers {len(self._answers)}>"
