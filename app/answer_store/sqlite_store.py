"""Store of answers in a SQLite file: calls of greenlets, made by one native thread in which owners take turns."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import gevent

from app.answer_store.calls import Calls, Problem, TooLong
from app.answer_store.sqlite_file import SqliteFile
from app.answer_store.stored_answer import (
    MOST_CHAIN_BYTES,
    Hooks,
    StoredAnswer,
    Totals,
    is_id,
)
from app.answer_store.usage_counts import Counts, RowName, UsageBatch, UsageQuery
from app.budget import SharedBudget, Shares
from app.errors import StoreFailed
from app.off_loop import OffLoop

log = logging.getLogger("codex_api.answer_store")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

CALLS_AT_ONCE = 256
"""Calls that wait for the thread or are in it. No owner has all of these places."""

_SWEEP_S = 60.0
_CLOSE_S = 2.0


class SqliteStore:
    """An `AnswerStore` below `folder`: up to `limit` bytes, each answer for `ttl_s` after its last use.

    Of the owner that has most, the conversation that was used longest ago makes room, its oldest answer first. `clock`
    is Unix time.
    """

    kind = "sqlite"
    is_on = True

    def __init__(
        self,
        folder: Path,
        limit: int,
        ttl_s: float,
        hooks: Hooks | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = SqliteFile(folder, limit, ttl_s, clock)
        self._largest = min(limit // 4, MOST_CHAIN_BYTES)  # one answer must not push out all
        self._hooks = hooks or Hooks()
        self._calls = Calls(self._hooks)
        self._off_loop = OffLoop()  # of its own: a slow disk delays stored answers and nothing else
        self._places = SharedBudget(Shares(CALLS_AT_ONCE, is_split=True), _busy)
        self._sweeper: gevent.Greenlet[[], None] | None = None
        self._is_closed = False

    @property
    def totals(self) -> Totals:
        """What is in the file, as this worker last saw it."""
        return self._file.totals

    @property
    def problem(self) -> str | None:
        """In one word why the last call failed, None if it did not."""
        return self._calls.problem

    def put(self, stored: StoredAnswer) -> None:
        """Store an answer in place of one with its id. Raises `StoreFailed`. Blocks."""
        if stored.cost > self._largest:
            raise self._calls.too_large(self._largest)

        def work() -> bool:
            while not self._run(stored.owner, self._file.put, stored):
                pass  # room was made, and not yet enough: others may come first
            return True

        self._calls.make("put", work)

    def get(self, owner: str, id_: str) -> StoredAnswer | None:
        """Return an owner's answer, None if it is not there. Raises `StoreFailed`. Blocks."""
        return self._calls.make("get", lambda: self._find(owner, self._file.get, id_))

    def find(self, owner: str, part: str) -> StoredAnswer | None:
        """Return an owner's answer with this part, None if there is none. Raises `StoreFailed`. Blocks."""
        return self._calls.make("find", lambda: self._find(owner, self._file.find, part))

    def chain(self, owner: str, id_: str) -> tuple[StoredAnswer, ...] | None:
        """Return an answer with all that it continues, the oldest first; None if one of them is not there.

        Raises `StoreFailed`, and `ContextLengthExceeded` beyond the most that is read. Blocks.
        """
        try:
            return self._calls.make("chain", lambda: self._find(owner, self._file.chain, id_))
        except TooLong:
            raise self._calls.too_long() from None

    def delete(self, owner: str, id_: str) -> bool:
        """Remove an answer; return False if it was not there. Raises `StoreFailed`. Blocks."""
        return bool(self._calls.make("delete", lambda: self._find(owner, self._file.delete, id_)))

    def hold(self, owner: str, id_: str, holder: str, answer: bytes = b"") -> bool:
        """Hold an answer on; False where it is not the holder's. Raises `StoreFailed`. Blocks."""

        def work() -> bool:
            return self._run(owner, self._file.hold, owner, id_, holder, answer)

        return self._calls.make("hold", work)

    def settle(self, stored: StoredAnswer, holder: str) -> bool:
        """Store an answer in place of the holder's; False where it is not. Raises `StoreFailed`. Blocks."""
        if stored.cost > self._largest:
            raise self._calls.too_large(self._largest)

        def work() -> bool:
            while (done := self._run(stored.owner, self._file.settle, stored, holder)) is False:
                pass  # see `put`
            return done is not None

        return self._calls.make("settle", work)

    def is_held(self, owner: str, id_: str) -> bool:
        """Return True while somebody works on an answer. Raises `StoreFailed`. Blocks."""
        return bool(self._calls.make("is_held", lambda: self._find(owner, self._file.is_held, id_)))

    def add_usage(self, batch: UsageBatch, *, is_last: bool = False) -> int:
        """Add counts once; return how many requests found no row of their own. Raises `StoreFailed`. Blocks."""

        def work() -> int:
            return self._run("", self._file.add_usage, batch)

        return self._calls.make("add_usage", work, is_last=is_last)

    def usage(self, query: UsageQuery) -> dict[RowName, Counts]:
        """Return rows of usage, the newest day first. Raises `StoreFailed`. Blocks."""
        return self._calls.make("usage", lambda: self._run("", self._file.usage, query))

    def sweep(self) -> None:
        """Remove what is too old, in small steps. A disk that refuses is logged. Blocks."""

        def work() -> tuple[bool]:
            return (self._run("", self._file.sweep),)

        try:
            while self._calls.make("sweep", work) == (True,):
                pass
        except StoreFailed:
            return  # until the next time

    def start(self) -> None:
        """Look at what there is, and remove what is too old now and then. Does not block."""
        self._sweeper = gevent.spawn(self._keep_tidy)

    def close(self) -> None:
        """Close the file after the calls that are in progress. Blocks, for two seconds at most."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.kill()
        with gevent.Timeout(_CLOSE_S, False):  # type: ignore[arg-type]  # False: it ends the block without an error
            self._off_loop.run("", self._file.close)

    def _keep_tidy(self) -> None:
        while True:
            self.sweep()
            gevent.sleep(_SWEEP_S)

    def _find(self, owner: str, function: Callable[[str, str], Result], id_: str) -> Result | None:
        return self._run(owner, function, owner, id_) if is_id(id_) else None

    def _run(
        self,
        owner: str,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call the file in the thread, in the owner's turn. Raises `Problem`."""
        if self._is_closed:
            raise Problem("closed", "the worker is going")
        lost = self._calls.lost

        def turn() -> Result:
            # Whatever one call has waited for in vain, the next in the line need not wait for.
            if self._calls.lost != lost:
                raise Problem("locked", "as for the call before", is_outage=True)
            return function(*args, **kwargs)

        with self._places.reserve(owner):
            try:
                return self._off_loop.run(owner, turn)
            finally:
                self._tell()

    def _tell(self) -> None:
        """Count and log what the thread found: it has no part in either."""
        while self._file.gone:
            self._hooks.on_gone(*self._file.gone.popleft())
        while self._file.damaged:
            log.error(
                "answer_store_damaged",
                extra={
                    "file": self._file.damaged.popleft(),
                    "meaning": "Its answers cannot be found any more. A new file is used from now on.",
                    "remedy": "Copy the damaged file if you need it: it is removed when its time is up.",
                },
            )

    def __repr__(self) -> str:
        return f"<SqliteStore {self.totals.answers} answers, {self.totals.size} bytes>"


def _busy(is_of_owner: bool) -> Problem:  # noqa: FBT001  (what a budget tells its refusal)
    return Problem("busy", "too many calls of one owner" if is_of_owner else "too many calls")
