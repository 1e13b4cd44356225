"""Look at a store of answers from outside of the service: can it be opened, and what is in it? Repairs nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from app.answer_store import sqlite_schema as sql
from app.answer_store.calls import Problem
from app.answer_store.redis_store import RedisStore
from app.answer_store.sqlite_connection import numbers_in
from app.answer_store.stored_answer import Totals


def look_at(kind: str, folder: Path) -> Totals | None:
    """Return what is stored, None where that is not known: nothing was stored yet, or Redis has it.

    `kind` is `sqlite` or the URL of a Redis. Raises `Problem`. Blocks.
    """
    if kind != "sqlite":
        store = RedisStore(kind, 1)
        try:
            store.ping()
        finally:
            store.close()
        return None
    try:
        number = max(numbers_in(folder), default=None)
        if number is None:
            return None
        place = f"{(folder / f'answers-{number}.sqlite').as_uri()}?mode=rw"
        with closing(sqlite3.connect(place, uri=True, timeout=2)) as database:
            database.execute("select owner, id from answers limit 1").fetchall()
            return Totals(*database.execute(sql.TOTALS).fetchone())
    except (OSError, sqlite3.Error) as error:
        raise Problem("not_opened", str(getattr(error, "strerror", None) or error)) from error
