"""SQLite file of stored answers: one connection of one thread. Every call blocks for the disk.

    CODEX_HOME/gateway/answers-<n>.sqlite   0600; the highest number is in use
    …-wal, …-shm                            SQLite's own, of the same mode

A file that is damaged, or that somebody has removed, is followed by one with the next number: another worker may have
it open, and SQLite finds its files by name, so no name is used twice. The damaged one stays until its time is up, or
until the next one is damaged.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from app.answer_store import sqlite_schema as sql
from app.answer_store import sqlite_usage
from app.answer_store.calls import Problem, TooLong
from app.answer_store.sqlite_connection import connect, inode_of, numbers_in, reason_of
from app.answer_store.stored_answer import (
    HOLD_S,
    MOST_CHAIN_ANSWERS,
    MOST_CHAIN_BYTES,
    StoredAnswer,
    Totals,
)
from app.answer_store.usage_counts import Counts, RowName, UsageBatch, UsageQuery

T = TypeVar("T")

_MODE = 0o600

_BATCH_ANSWERS = 50
_BATCH_BYTES = 8 << 20
_BATCH_PAGES = 256
"""How much is removed in one call, and how many free pages are given back: others wait meanwhile."""

_READS_BETWEEN_USES = 100
"""A conversation that is only read is noted as used so often in its time: reads should not have to write."""


class SqliteFile:
    """The file below `folder`, made at the first `put`. Up to `limit` bytes of answers, each for `ttl_s` after its use.

    `clock` is Unix time. `gone` has what was removed unasked, a reason and how many, and `damaged` the names of files
    that were given up; whoever reads them takes them out, in any thread. All calls raise `Problem`.
    """

    def __init__(
        self, folder: Path, limit: int, ttl_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self.totals = Totals()
        self.gone: deque[tuple[str, int]] = deque()
        self.damaged: deque[str] = deque()
        self._removed: Counter[str] = Counter()
        self._folder = folder
        self._limit = limit
        self._ttl_s = ttl_s
        self._clock = clock
        self._number = 0
        self._inode = 0
        self._database: sqlite3.Connection | None = None

    def put(self, stored: StoredAnswer) -> bool:
        """Store an answer; return False where room was made, and not yet enough: then call again."""

        def work(database: sqlite3.Connection) -> bool:
            with self._writing(database):
                return self._put(database, stored)

        return self._call(work, makes=True, otherwise=False)

    def settle(self, stored: StoredAnswer, holder: str) -> bool | None:
        """Store an answer in place of the one that `holder` works on: see `put`; None where it is not the holder's."""

        def work(database: sqlite3.Connection) -> bool | None:
            with self._writing(database):
                held_by = (stored.owner, stored.id, holder)
                if database.execute(sql.HELD_BY, held_by).fetchone() is None:
                    return None
                return self._put(database, stored)

        return self._call(work, makes=False, otherwise=None)

    def hold(self, owner: str, id_: str, holder: str, answer: bytes) -> bool:
        """Hold an answer for `HOLD_S` more, and show another if there is one; False where it is not the holder's."""

        def work(database: sqlite3.Connection) -> bool:
            with self._writing(database):
                found = database.execute(sql.HELD_BY, (owner, id_, holder)).fetchone()
                if found is None:
                    return False
                self._use(database, found[0])
                database.execute(sql.HOLD, (self._clock() + HOLD_S, owner, id_))
                if answer:
                    database.execute(sql.SHOW, (answer, owner, id_))
            return True

        return self._call(work, makes=False, otherwise=False)

    def is_held(self, owner: str, id_: str) -> bool:
        """Return True while somebody works on an answer."""

        def work(database: sqlite3.Connection) -> bool:
            held = (owner, id_, self._clock())
            return database.execute(sql.IS_HELD, held).fetchone() is not None

        return self._call(work, makes=False, otherwise=False)

    def get(self, owner: str, id_: str) -> StoredAnswer | None:
        """Return an answer, None if it is not there, or its time is up."""
        found = self._read(sql.GET, owner, id_)
        return found[0] if found else None

    def find(self, owner: str, part: str) -> StoredAnswer | None:
        """Return the last answer with a part, None if there is none, or its time is up."""
        found = self._read(sql.FIND, owner, part)
        return found[0] if found else None

    def chain(self, owner: str, id_: str) -> tuple[StoredAnswer, ...] | None:
        """Return a chain, the oldest first; None if a part is not there. Raises `TooLong`."""
        found = self._read(sql.CHAIN, owner, id_)
        return tuple(found) if found and found[0].before is None else None

    def delete(self, owner: str, id_: str) -> bool:
        """Remove an answer; return False if there is none."""

        def work(database: sqlite3.Connection) -> bool:
            with self._writing(database):
                return database.execute(sql.DELETE, (owner, id_)).rowcount > 0

        return self._call(work, makes=False, otherwise=False)

    def add_usage(self, batch: UsageBatch) -> int:
        """Add counts once; return how many requests found no row of their own."""

        def work(database: sqlite3.Connection) -> int:
            with self._writing(database):
                return sqlite_usage.add(database, batch)

        return self._call(work, makes=True, otherwise=0)

    def usage(self, query: UsageQuery) -> dict[RowName, Counts]:
        """Return rows of usage, the newest day first."""
        none: dict[RowName, Counts] = {}
        return self._call(
            lambda database: sqlite_usage.read(database, query), makes=False, otherwise=none
        )

    def sweep(self) -> bool:
        """Remove some of what is too old and give back some free pages; return True where there may be more."""

        def work(database: sqlite3.Connection) -> bool:
            with self._writing(database):
                is_more = self._remove(database, "expired", sql.EXPIRED, self._oldest)
            (free,) = database.execute("pragma freelist_count").fetchone()
            if free:
                # Not `execute`, which would take one of the steps that this has: a page.
                database.executescript(f"pragma incremental_vacuum({_BATCH_PAGES})")
            return is_more or free > _BATCH_PAGES

        is_more = self._call(work, makes=False, otherwise=False)
        if not is_more:
            self._forget_damaged()
        return is_more

    def close(self) -> None:
        """Close the file, if it is open. The next call opens it again."""
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    # Opening

    def _call(self, work: Callable[[sqlite3.Connection], T], *, makes: bool, otherwise: T) -> T:
        """Return what `work` does with the database; `otherwise` where there is none and none is to be made."""
        for is_last in (False, True):
            try:
                database = self._open(makes=makes)
                return otherwise if database is None else work(database)
            except OSError as error:
                raise Problem("not_opened", error.strerror or "") from error
            except sqlite3.Error as error:
                reason = reason_of(error)
                name = getattr(error, "sqlite_errorname", type(error).__name__)
                if reason == "locked":
                    raise Problem(reason, name, is_outage=True) from error
                self.close()
                if reason != "damaged" or is_last:
                    raise Problem(reason, name) from error
            self._give_up_damaged()
        raise AssertionError  # for mypy: the second time returns or raises

    def _open(self, *, makes: bool) -> sqlite3.Connection | None:
        """Return the connection, to another file if the one that was open is not the newest any more."""
        if self._database is not None:
            if inode_of(self._path(self._number)) == self._inode and not self._has_successor():
                return self._database
            self.close()
        number = max(self._numbers(), default=0)
        if not number:
            if not makes:
                self.totals = Totals()
                return None
            number = self._number + 1
            self._create(number)
        path = self._path(number)
        if path.stat().st_mode & 0o777 != _MODE:
            path.chmod(_MODE)
        self._number, self._inode = number, inode_of(path)
        self._database = connect(path)
        self._count(self._database)
        return self._database

    def _create(self, number: int) -> None:
        """Make an empty file, closed to others before SQLite knows of it; SQLite gives its own files the same mode."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another worker was faster
            os.close(os.open(self._path(number), os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE))

    def _give_up_damaged(self) -> None:
        """Begin the next file, unless another worker has; say so."""
        if self._has_successor():
            return
        path = self._path(self._number)
        with suppress(OSError):
            os.utime(path)  # its time begins now
        self.damaged.append(path.name)
        self.gone.append(("damaged", self.totals.answers))
        try:
            self._create(self._number + 1)
        except OSError as error:
            raise Problem("not_opened", error.strerror or "") from error

    def _forget_damaged(self) -> None:
        """Remove files that were given up: those before the last one, and that one when its time is up."""
        with suppress(OSError):
            for number in self._numbers() - {self._number}:
                path = self._path(number)
                is_old = path.stat().st_mtime < self._oldest
                if number < self._number - 1 or (number < self._number and is_old):
                    for suffix in ("-wal", "-shm", ""):
                        path.with_name(path.name + suffix).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"answers-{number}.sqlite"

    def _has_successor(self) -> bool:
        return self._path(self._number + 1).exists()

    def _numbers(self) -> set[int]:
        return numbers_in(self._folder)

    # Inside of a call

    @property
    def _oldest(self) -> float:
        """What was last used before that is too old."""
        return self._clock() - self._ttl_s

    def _read(self, statement: str, owner: str, id_: str) -> list[StoredAnswer]:
        """Return the rows of a statement, and note that they were used. Raises `TooLong`."""
        wanted = {"owner": owner, "id": id_, "oldest": self._oldest}
        wanted |= {"most_answers": MOST_CHAIN_ANSWERS, "most_bytes": MOST_CHAIN_BYTES}

        def work(database: sqlite3.Connection) -> list[StoredAnswer]:
            rows = database.execute(statement, wanted).fetchall()
            if not rows:
                return []
            rows.sort(key=itemgetter(11), reverse=True)  # here: SQLite would copy what it sorts
            *_, depth, size = rows[0]
            has_more = rows[0][3] is not None and depth >= MOST_CHAIN_ANSWERS
            if size > MOST_CHAIN_BYTES or has_more:
                raise TooLong
            with suppress(sqlite3.Error):  # what can be read is, also where nothing can be written
                self._use(database, rows[-1][10], self._ttl_s / _READS_BETWEEN_USES)
            return [self._stored(row) for row in rows]

        return self._call(work, makes=False, otherwise=[])

    def _stored(self, row: tuple[Any, ...]) -> StoredAnswer:
        answer = StoredAnswer(*row[:7])
        return replace(answer, shape=row[7], holder=row[8], is_held=row[9] > self._clock())

    def _put(self, database: sqlite3.Connection, stored: StoredAnswer) -> bool:
        """Store an answer; return False where room was made, and not yet enough."""
        self._conversation(database, stored)  # used now, so that it goes last
        if not self._has_room(database, stored):
            return False
        conversation = self._conversation(database, stored) or self._begun(database, stored)
        where = (stored.owner, stored.id, conversation)
        what = (stored.created, stored.before, stored.cost)
        contents = (stored.answer, stored.given, stored.made, stored.shape)
        held_until = self._clock() + HOLD_S if stored.holder else 0
        database.execute(sql.PUT, (*where, *what, *contents, stored.holder, held_until))
        (number,) = database.execute(sql.NUMBER, where[:2]).fetchone()
        database.execute(sql.FORGET_PARTS, (number,))
        parts = [(stored.owner, part, number) for part in stored.parts]
        database.executemany(sql.PUT_PART, parts)
        return True

    def _use(self, database: sqlite3.Connection, conversation: int, every_s: float = 0.0) -> None:
        now = self._clock()
        found = database.execute(sql.USED, (conversation,)).fetchone()
        if found is not None and found[0] <= now - every_s:
            database.execute(sql.USE, (now, conversation))

    def _conversation(self, database: sqlite3.Connection, stored: StoredAnswer) -> int | None:
        """Return the number of the conversation that an answer goes on with, and note that it is used."""
        for id_ in filter(None, (stored.id, stored.before)):
            found = database.execute(sql.CONVERSATION_OF, (stored.owner, id_)).fetchone()
            if found is not None:
                self._use(database, found[0])
                return int(found[0])
        return None

    def _begun(self, database: sqlite3.Connection, stored: StoredAnswer) -> int:
        """Return the number of a new conversation."""
        made = database.execute(sql.NEW_CONVERSATION, (stored.owner, self._clock()))
        return int(made.lastrowid or 0)

    def _has_room(self, database: sqlite3.Connection, stored: StoredAnswer) -> bool:
        """Make room for an answer; return False where this was not enough."""
        size = database.execute(sql.TOTALS).fetchone()[1]
        too_much = size + stored.cost - self._limit
        if too_much <= 0:
            return True
        (owner,) = database.execute(
            sql.OWNER_WITH_MOST, {"owner": stored.owner, "cost": stored.cost}
        ).fetchone()
        self._remove(database, "evicted", sql.OLDEST_OF_OWNER, owner, too_much)
        size = database.execute(sql.TOTALS).fetchone()[1]
        return bool(size + stored.cost <= self._limit)

    def _remove(
        self,
        database: sqlite3.Connection,
        reason: str,
        statement: str,
        of: Any,
        enough: int = _BATCH_BYTES,
    ) -> bool:
        """Remove answers of a statement until that many bytes are free; return True if it found any."""
        rows = database.execute(statement, (of, _BATCH_ANSWERS)).fetchall()
        freed = 0
        for number, cost in rows:
            if freed >= min(enough, _BATCH_BYTES):
                break
            database.execute(sql.DELETE_NUMBER, (number,))
            self._removed[reason] += 1
            freed += cost
        return bool(rows)

    @contextmanager
    def _writing(self, database: sqlite3.Connection) -> Iterator[None]:
        """Commit what is done within, or undo all of it where it fails."""
        self._removed.clear()
        database.execute("begin immediate")
        try:
            yield
            self._count(database)
            database.execute("commit")
        except BaseException:
            with suppress(sqlite3.Error):
                database.execute("rollback")
            raise
        self.gone.extend(self._removed.items())

    def _count(self, database: sqlite3.Connection) -> None:
        self.totals = Totals(*database.execute(sql.TOTALS).fetchone())
