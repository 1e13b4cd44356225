"""Usage in the SQLite file, beside the answers: its tables, and what is done in a transaction of the file's."""

from __future__ import annotations

import sqlite3
from typing import Any

from app.answer_store.usage_counts import (
    MOST_ROWS_READ,
    Counts,
    RowName,
    Tally,
    UsageBatch,
    UsageQuery,
)

_COLUMNS = ", ".join(Counts._fields)

TABLES = (
    f"""
    create table if not exists usage (
      day text not null, key text not null, model text not null,
      {", ".join(f"{name} integer not null" for name in Counts._fields)},
      primary key (day, key, model)
    ) without rowid
    """,
    """
    create table if not exists usage_writers (
      writer text primary key, number integer not null, day text not null
    ) without rowid
    """,
)

_IS_THERE = "select 1 from sqlite_master where name = 'usage_writers'"

_TAKE = """
insert into usage_writers (writer, number, day) values (?, ?, date('now'))
on conflict do update set number = excluded.number, day = excluded.day where number < excluded.number
"""
_FORGET_WRITERS = "delete from usage_writers where day < date('now', '-7 days')"
_FORGET = "delete from usage where day < ?"
_NAMES = "select day, key, model from usage where day = ?"
_ADD = f"""
insert into usage values (?, ?, ?{", ?" * len(Counts._fields)})
on conflict do update set {", ".join(f"{name} = {name} + excluded.{name}" for name in Counts._fields)}
"""  # noqa: S608  (names of columns, of ours)
_READ = f"""
select day, key, model, {_COLUMNS} from usage
where day between :first and :last and (:key is null or key = :key) and (:model is null or model = :model)
order by day desc, key, model limit :most
"""  # noqa: S608  (names of columns, of ours)


def is_there(database: sqlite3.Connection) -> bool:
    """Return whether the file has these tables."""
    return database.execute(_IS_THERE).fetchone() is not None


def add(database: sqlite3.Connection, batch: UsageBatch) -> int:
    """Add a batch unless it was added before; return how many requests found no row of their own."""
    if database.execute(_TAKE, (batch.writer, batch.number)).rowcount == 0:
        return 0
    database.execute(_FORGET_WRITERS)
    database.execute(_FORGET, (batch.oldest,))
    days = {name.day for name in batch.rows}
    known = [RowName(*row) for day in days for row in database.execute(_NAMES, (day,))]
    tally = Tally(known)
    tally.add_all(batch.rows)
    rows = [(*name, *counts) for name, counts in tally.rows.items() if name.day >= batch.oldest]
    database.executemany(_ADD, rows)
    return tally.displaced


def read(database: sqlite3.Connection, query: UsageQuery) -> dict[RowName, Counts]:
    """Return the rows that are asked for, the newest day first: one more than are read at most."""
    wanted: dict[str, Any] = {"first": query.first, "last": query.last, "key": query.key}
    wanted |= {"model": query.model, "most": MOST_ROWS_READ + 1}
    rows = database.execute(_READ, wanted)
    return {RowName(*row[:3]): Counts(*row[3:]) for row in rows}
