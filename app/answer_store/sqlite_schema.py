"""Tables of the SQLite file, and the statements on them. Pure.

An answer belongs to a conversation, the tree of those that continue one another. Only the conversation has a time of
last use: a conversation that goes on is one row to write, however long it is, and it does not lose its beginning.
"""

from __future__ import annotations

PRAGMAS = (
    "pragma auto_vacuum = incremental",  # has an effect only before there is a table
    "pragma journal_mode = wal",
    "pragma synchronous = normal",  # a crash of the process loses nothing, one of the host the last moments
    "pragma secure_delete = on",  # what was deleted is not left in free pages
    "pragma journal_size_limit = 16777216",
)

TABLES = (
    """
    create table if not exists conversations (
      number integer primary key, owner text not null, used real not null
    )
    """,
    "create index if not exists by_use on conversations (used)",
    "create index if not exists by_owner on conversations (owner, used)",
    """
    create table if not exists answers (
      number integer primary key, owner text not null, id text not null, conversation integer not null,
      created integer not null, before text, cost integer not null,
      answer blob not null, given blob not null, made blob not null,
      unique (owner, id)
    )
    """,
    """
    create table if not exists parts (
      owner text not null, part text not null, answer integer not null, primary key (owner, part)
    ) without rowid
    """,
    "create index if not exists by_answer on parts (answer)",
    "create index if not exists by_conversation on answers (conversation)",
    """
    create table if not exists totals (
      owner text primary key, answers integer not null, size integer not null
    )
    """,
    """
    create trigger if not exists answer_came after insert on answers begin
      insert into totals values (new.owner, 1, new.cost)
      on conflict do update set answers = answers + 1, size = size + new.cost;
    end
    """,
    """
    create trigger if not exists answer_changed after update of cost on answers begin
      update totals set size = size - old.cost + new.cost where owner = new.owner;
    end
    """,
    """
    create trigger if not exists answer_went after delete on answers begin
      delete from parts where answer = old.number;
      update totals set answers = answers - 1, size = size - old.cost where owner = old.owner;
      delete from totals where owner = old.owner and answers = 0;
      delete from conversations where number = old.conversation
        and not exists (select 1 from answers where conversation = old.conversation);
    end
    """,
)

COLUMNS = {
    "shape": "blob not null default x''",
    "holder": "text not null default ''",
    "held_until": "real not null default 0",
}
"""Columns of `answers` that came later. A worker of an older version goes on with a file that has them."""

KNOWN_COLUMNS = "select name from pragma_table_info('answers')"
ADD_COLUMN = "alter table answers add column {} {}"

TOTALS = "select coalesce(sum(answers), 0), coalesce(sum(size), 0) from totals"

CONVERSATION_OF = "select conversation from answers where owner = ? and id = ?"
USED = "select used from conversations where number = ?"
USE = "update conversations set used = ? where number = ?"
NEW_CONVERSATION = "insert into conversations (owner, used) values (?, ?)"

PUT = """
insert into answers (owner, id, conversation, created, before, cost, answer, given, made, shape, holder, held_until)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (owner, id) do update set created = excluded.created, before = excluded.before, cost = excluded.cost,
  answer = excluded.answer, given = excluded.given, made = excluded.made, shape = excluded.shape,
  holder = excluded.holder, held_until = excluded.held_until
"""

HELD_BY = "select conversation from answers where owner = ? and id = ? and holder = ?"
HOLD = "update answers set held_until = ? where owner = ? and id = ?"
SHOW = "update answers set answer = ? where owner = ? and id = ?"
IS_HELD = "select 1 from answers where owner = ? and id = ? and held_until > ?"

GET = """
select a.id, a.owner, a.created, a.before, a.answer, a.given, a.made,
  a.shape, a.holder, a.held_until, a.conversation, 1, 0
from answers a join conversations c on c.number = a.conversation
where a.owner = :owner and id = :id and used >= :oldest
"""

FIND = """
select a.id, a.owner, a.created, a.before, a.answer, a.given, a.made,
  a.shape, a.holder, a.held_until, a.conversation, 1, 0
from parts p join answers a on a.number = p.answer join conversations c on c.number = a.conversation
where p.owner = :owner and part = :id and used >= :oldest
"""

NUMBER = "select number from answers where owner = ? and id = ?"
FORGET_PARTS = "delete from parts where answer = ?"
PUT_PART = "insert or replace into parts (owner, part, answer) values (?, ?, ?)"

CHAIN = """
with recursive chain (number, before, depth, size) as (
  select a.number, before, 1, cost from answers a join conversations c on c.number = a.conversation
    where a.owner = :owner and id = :id and used >= :oldest
  union all
  select a.number, a.before, depth + 1, size + cost from chain join answers a
    on a.owner = :owner and a.id = chain.before
    where depth < :most_answers and size <= :most_bytes
)
select a.id, a.owner, a.created, a.before, a.answer, a.given, a.made,
  a.shape, a.holder, a.held_until, a.conversation, depth, size
from chain join answers a using (number)
"""

DELETE = "delete from answers where owner = ? and id = ?"
DELETE_NUMBER = "delete from answers where number = ?"

OWNER_WITH_MOST = "select owner from totals order by size + case owner when :owner then :cost else 0 end desc limit 1"

_OLDEST = """
select a.number, cost from conversations c join answers a on a.conversation = c.number
where {} order by used, c.number, a.number limit ?
"""
OLDEST_OF_OWNER = _OLDEST.format("c.owner = ?")
EXPIRED = _OLDEST.format("used < ?")
