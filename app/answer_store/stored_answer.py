"""Stored answer, and what every store of them owes. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.answer_store.usage_counts import Counts, RowName, UsageBatch, UsageQuery

MOST_CHAIN_ANSWERS = 10_000
MOST_CHAIN_BYTES = 64 << 20
"""A conversation that is longer is not read: no model takes as much."""

HOLD_S = 20.0
"""How long an answer counts as worked on after its holder has last said so. Long enough for a slow disk or a pause."""

_MOST_ID_LENGTH = 200
_PART_BYTES = 256
_ROW_BYTES = 1024
"""What an answer takes on disk beside its JSON, roughly: its row, its places in indexes, the unused end of a page."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer as it is stored; `answer`, `given` and `made` are JSON, and nobody here looks into them.

    `owner` tells one API key from another and is not the key. `created` is Unix time in seconds. `before` is the id of
    the answer that this one continues. `answer` is what the caller is shown, `given` an array of the items that its
    request brought, `made` an array of what is needed to go on. `parts` are ids by which it can be found, too.
    `shape` says what its stream looked like. `holder` is who works on it, empty where it is over; `is_held` is True, of
    one that was read, as long as its holder has said so within `HOLD_S`.
    """

    id: str
    owner: str
    created: int
    before: str | None
    answer: bytes
    given: bytes
    made: bytes
    parts: tuple[str, ...] = ()
    shape: bytes = b""
    holder: str = ""
    is_held: bool = False

    @property
    def cost(self) -> int:
        """About how many bytes it takes on disk."""
        size = len(self.answer) + len(self.given) + len(self.made) + len(self.shape)
        return size + _ROW_BYTES + _PART_BYTES * len(self.parts)


@dataclass(frozen=True, slots=True)
class Totals:
    """How many answers there are, and about how many bytes they take."""

    answers: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is called for each call, with its name and result, and for answers that went unasked: a reason, how many.

    Neither may block.
    """

    on_call: Callable[[str, str], object] = lambda _call, _result: None
    on_gone: Callable[[str, int], object] = lambda _reason, _count: None


CALLS = (
    "put",
    "get",
    "find",
    "chain",
    "delete",
    "sweep",
    "hold",
    "settle",
    "is_held",
    "add_usage",
    "usage",
)
RESULTS = ("ok", "missing", "too_large", "failed")
GONE = ("evicted", "expired", "damaged")


class AnswerStore(Protocol):
    """Answers by owner and id. Calls block the greenlet and never the loop, for `calls.CALL_S` at most.

    An answer is kept for so long after its last use. What is read is used, and so is everything that it stands on, and
    what a new answer continues.
    """

    kind: str
    is_on: bool

    @property
    def totals(self) -> Totals:
        """What is stored, as last seen. Does not block; nothing where that is not known (Redis)."""

    @property
    def problem(self) -> str | None:
        """In one word why the last call failed, None if it did not. Does not block."""

    def put(self, stored: StoredAnswer) -> None:
        """Store an answer in place of one with its id; one with a holder is held from now on. Raises `StoreFailed`."""

    def get(self, owner: str, id_: str) -> StoredAnswer | None:
        """Return an owner's answer, None if it is not there. Raises `StoreFailed`."""

    def find(self, owner: str, part: str) -> StoredAnswer | None:
        """Return an owner's answer with this part, the last of several; None if there is none. Raises `StoreFailed`."""

    def chain(self, owner: str, id_: str) -> tuple[StoredAnswer, ...] | None:
        """Return an answer with all that it continues, the oldest first; None if one of them is not there.

        Raises `StoreFailed`, and `ContextLengthExceeded` beyond the most that is read.
        """

    def delete(self, owner: str, id_: str) -> bool:
        """Remove an answer; return False if it was not there. Raises `StoreFailed`."""

    def hold(self, owner: str, id_: str, holder: str, answer: bytes = b"") -> bool:
        """Say that `holder` still works on an answer, and what callers are shown of it if that has changed.

        Return False where it is not there, or not the holder's any more. Raises `StoreFailed`.
        """

    def settle(self, stored: StoredAnswer, holder: str) -> bool:
        """Store an answer in place of the one that `holder` works on; False as `hold` does. Raises `StoreFailed`."""

    def is_held(self, owner: str, id_: str) -> bool:
        """Return True while somebody works on an answer. Raises `StoreFailed`."""

    def add_usage(self, batch: UsageBatch, *, is_last: bool = False) -> int:
        """Add counts once; return how many requests found no row of their own. Raises `StoreFailed`.

        `is_last`: also where the store has just failed, since nobody comes again.
        """

    def usage(self, query: UsageQuery) -> dict[RowName, Counts]:
        """Return rows of usage, the newest day first: one more than `MOST_ROWS_READ` at most. Raises `StoreFailed`."""

    def start(self) -> None:
        """Begin what is done beside requests, such as removing what is too old. Does not block."""

    def close(self) -> None:
        """End it, and close what is open. Nothing can be stored any more. Blocks, for a moment."""


def is_id(text: str) -> bool:
    """Return True for what may be an id. A caller's word may be anything, of any length."""
    return len(text) <= _MOST_ID_LENGTH and text.isascii() and text.isprintable() and text != ""
