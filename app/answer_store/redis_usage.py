"""Usage in the Redis that replicas share: a hash for each day, which lives as long as the day is kept.

codex-api:usage:<day>               a count for each [key, model, name of the count]
codex-api:usage-writer:<writer>     the number of the last batch of a worker's that was added

A batch is added in one transaction with its number, so that one of which the answer was lost is not added twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from app.answer_store.usage_counts import (
    MOST_ROWS_READ,
    Counts,
    RowName,
    Tally,
    UsageBatch,
    UsageQuery,
    in_order,
)
from app.pause import pause

if TYPE_CHECKING:
    from redis import Redis

PREFIX = "codex-api:usage"
_DAY_S = 86_400
_WRITER_S = 7 * _DAY_S


def add(redis: Redis, batch: UsageBatch) -> int:
    """Add a batch unless it was added before; return how many requests found no row of their own. Blocks."""
    writer = f"{PREFIX}-writer:{batch.writer}"
    displaced = 0

    def attempt(pipe: Any) -> None:
        nonlocal displaced
        displaced = 0
        added = pipe.get(writer)
        if added is not None and int(added) >= batch.number:
            return
        tally = Tally(_known(redis, {name.day for name in batch.rows}))
        tally.add_all(batch.rows)
        displaced = tally.displaced
        pipe.multi()
        pipe.set(writer, batch.number, ex=_WRITER_S)
        for name, counts in tally.rows.items():
            for field, count in counts._asdict().items():
                pipe.hincrby(_key(name.day), _field(name, field), count)
            pipe.expire(_key(name.day), (batch.kept_days + 1) * _DAY_S)

    redis.transaction(attempt, writer)
    return displaced


def read(redis: Redis, query: UsageQuery) -> dict[RowName, Counts]:
    """Return the rows that are asked for, the newest day first: one more than are read at most. Blocks."""
    found: dict[RowName, Counts] = {}
    for day in query.days():
        pause()  # a Redis that answers at once makes no greenlet wait
        counted: Any = redis.hgetall(_key(day))
        rows = _rows(day, counted)
        # Each day alone: to sort all of them at once would hold the loop up for long.
        found |= in_order({name: counts for name, counts in rows.items() if query.takes(name)})
        if len(found) > MOST_ROWS_READ:
            break
    return dict(islice(found.items(), MOST_ROWS_READ + 1))


def _known(redis: Redis, days: Iterable[str]) -> list[RowName]:
    """Return the rows that there are of some days."""
    known = []
    for day in days:
        fields: Any = redis.hkeys(_key(day))
        known += list(_rows(day, dict.fromkeys(fields, b"0")))
    return known


def _rows(day: str, counted: Mapping[bytes, bytes]) -> dict[RowName, Counts]:
    rows: defaultdict[RowName, dict[str, int]] = defaultdict(dict)
    for field, count in counted.items():
        key, model, name = orjson.loads(field)
        if name in Counts._fields:  # a replica of another version may count more
            rows[RowName(day, key, model)][name] = int(count)
    return {name: Counts(**counts) for name, counts in rows.items()}


def _key(day: str) -> str:
    return f"{PREFIX}:{day}"


def _field(name: RowName, field: str) -> bytes:
    return orjson.dumps([name.key, name.model, field])
