"""Choice of the store of answers: the one place that knows every kind."""

from __future__ import annotations

from pathlib import Path

from app.answer_store.no_store import NoStore
from app.answer_store.redis_store import RedisStore
from app.answer_store.sqlite_store import SqliteStore
from app.answer_store.stored_answer import AnswerStore, Hooks


def choose_store(kind: str, folder: Path, limit: int, ttl_s: int, hooks: Hooks) -> AnswerStore:
    """Return the store for `off`, `sqlite` (a file in `folder`, of up to `limit` bytes) or the URL of a Redis.

    Opens nothing and connects to nothing yet.
    """
    if kind == "off":
        return NoStore()
    if kind == "sqlite":
        return SqliteStore(folder, limit, ttl_s, hooks)
    return RedisStore(kind, ttl_s, hooks)
