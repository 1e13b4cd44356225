"""SQLite connection to a file of stored answers: how one is opened, what its errors mean. Blocks for the disk."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

from app.answer_store import sqlite_schema as sql
from app.answer_store import sqlite_usage

_NAME = re.compile(r"answers-([0-9]{1,9})\.sqlite")
_BUSY_S = 2.0
"""Longest wait for another process that writes. Transactions are short."""

_REASONS = {
    sqlite3.SQLITE_IOERR_SHORT_READ: "damaged",  # shorter than its own header says
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_IOERR: "io_error",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_CANTOPEN: "not_opened",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_NOMEM: "no_memory",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}


def numbers_in(folder: Path) -> set[int]:
    """Return the numbers of the files in a folder, which need not exist. Raises `OSError`."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  (names are all that is needed)
    except FileNotFoundError:
        return set()
    return {int(found[1]) for found in map(_NAME.fullmatch, names) if found}


def reason_of(error: sqlite3.Error) -> str:
    """Return in one word what an error of SQLite means."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return _REASONS.get(code) or _REASONS.get(code & 0xFF, "error")


def inode_of(path: Path) -> int:
    """Return what tells a file from another of its name, 0 where there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def connect(path: Path) -> sqlite3.Connection:
    """Open a file and make what is missing in it. Raises `sqlite3.Error`."""
    # One call at a time uses it, of whichever thread.
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        for statement in sql.PRAGMAS:
            database.execute(statement).fetchall()
        if not database.execute("select 1 from sqlite_master limit 1").fetchone():
            database.execute("begin immediate")
            for statement in (*sql.TABLES, *sqlite_usage.TABLES):
                database.execute(statement)
            database.execute("commit")
        _add_columns(database)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _add_columns(database: sqlite3.Connection) -> None:
    """Add the columns and tables that a file of an older version lacks. Raises `sqlite3.Error`."""
    if not _lacking(database) and sqlite_usage.is_there(database):
        return
    database.execute("begin immediate")
    for statement in sqlite_usage.TABLES:
        database.execute(statement)
    for name in _lacking(database):  # again: another worker may have been faster
        database.execute(sql.ADD_COLUMN.format(name, sql.COLUMNS[name]))
    database.execute("commit")


def _lacking(database: sqlite3.Connection) -> list[str]:
    known = {name for (name,) in database.execute(sql.KNOWN_COLUMNS)}
    return [name for name in sql.COLUMNS if name not in known]
