"""Store of answers in a Redis that replicas share: a hash for each answer, with a time to live.

    codex-api:answer:<digest of the owner>:<id>   created, before, ancestors, depth, size, answer, given, made, shape,
                                                  holder
    codex-api:answer-part:<digest>:<part>         the id of the answer with this part
    codex-api:answer-held:<digest>:<id>           lives as long as its holder works on the answer

`ancestors` are the ids of up to `_BATCH` answers before it, the nearest first, so that a chain is read in batches of so
many; `depth` and `size` are those of the whole chain, so that one that is too long is not read at all. How much room
there is, and what goes where there is none, is Redis's own business (`maxmemory`, `maxmemory-policy`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson

from app.answer_store import redis_usage
from app.answer_store.calls import Calls, Problem, TooLong
from app.answer_store.stored_answer import (
    HOLD_S,
    MOST_CHAIN_ANSWERS,
    MOST_CHAIN_BYTES,
    Hooks,
    StoredAnswer,
    Totals,
    is_id,
)
from app.answer_store.usage_counts import Counts, RowName, UsageBatch, UsageQuery
from app.pause import pause
from app.redis_pool import redis_pool

if TYPE_CHECKING:
    from redis import Redis

PREFIX = "codex-api:answer"
"""Beside that of the limits, so that both may use one database."""

_STEP_S = 2.0
"""Longest wait for one step of Redis: of an answer of many megabytes, too."""

_BATCH = 64
"""Parsed in about 10 ms, in which nobody else comes to the loop."""


class _Read(NamedTuple):
    """An answer, and where it stands in its chain."""

    stored: StoredAnswer
    ancestors: Sequence[str]
    depth: int
    size: int


class RedisStore:
    """An `AnswerStore` in the Redis of a URL, each answer for `ttl_s` after its last use. Connects when it is used."""

    kind = "redis"
    is_on = True
    totals = Totals()

    def __init__(self, url: str, ttl_s: int, hooks: Hooks | None = None) -> None:
        from redis import Redis  # noqa: PLC0415  (loaded only where it is used)

        self._redis: Redis = Redis(connection_pool=redis_pool(url, _STEP_S))
        self._ttl_s = ttl_s
        self._calls = Calls(hooks or Hooks())

    @property
    def problem(self) -> str | None:
        """In one word why the last call failed, None if it did not."""
        return self._calls.problem

    def put(self, stored: StoredAnswer) -> None:
        """Store an answer in place of one with its id. Raises `StoreFailed`. Blocks."""
        if stored.cost > MOST_CHAIN_BYTES:
            raise self._calls.too_large(MOST_CHAIN_BYTES)

        def work() -> bool:
            with _problems():
                members = self._members(stored)
                with self._redis.pipeline(transaction=True) as pipe:
                    self._store(pipe, stored, members)
                    pipe.execute()
            return True

        self._calls.make("put", work)

    def settle(self, stored: StoredAnswer, holder: str) -> bool:
        """Store an answer in place of the holder's; False where it is not. Raises `StoreFailed`. Blocks."""
        if stored.cost > MOST_CHAIN_BYTES:
            raise self._calls.too_large(MOST_CHAIN_BYTES)

        def work() -> bool:
            with _problems():
                members = self._members(stored)
                return self._as_holder(
                    stored.owner,
                    stored.id,
                    holder,
                    lambda pipe: self._store(pipe, stored, members),
                )

        return self._calls.make("settle", work)

    def hold(self, owner: str, id_: str, holder: str, answer: bytes = b"") -> bool:
        """Hold an answer on; False where it is not the holder's. Raises `StoreFailed`. Blocks."""

        def renew(pipe: Any) -> None:
            pipe.set(_held_key(owner, id_), holder, px=round(HOLD_S * 1000))
            if answer:
                pipe.hset(_key(owner, id_), "answer", cast("Any", answer))
            pipe.expire(_key(owner, id_), self._ttl_s)

        def work() -> bool:
            with _problems():
                return self._as_holder(owner, id_, holder, renew)

        return self._calls.make("hold", work)

    def is_held(self, owner: str, id_: str) -> bool:
        """Return True while somebody works on an answer. Raises `StoreFailed`. Blocks."""

        def work() -> bool:
            with _problems():
                return bool(self._redis.exists(_held_key(owner, id_)))

        return self._calls.make("is_held", work)

    def get(self, owner: str, id_: str) -> StoredAnswer | None:
        """Return an owner's answer, None if it is not there. Raises `StoreFailed`. Blocks."""

        def work() -> StoredAnswer | None:
            with _problems():
                (found,) = self._read(owner, [id_])
            return found and found.stored

        return self._calls.make("get", work if is_id(id_) else _nothing)

    def find(self, owner: str, part: str) -> StoredAnswer | None:
        """Return an owner's answer with this part, None if there is none. Raises `StoreFailed`. Blocks."""

        def work() -> StoredAnswer | None:
            with _problems():
                named = cast("bytes | None", self._redis.getex(_part_key(owner, part), self._ttl_s))
                (found,) = self._read(owner, [named.decode()]) if named else (None,)
            return found and found.stored

        return self._calls.make("find", work if is_id(part) else _nothing)

    def chain(self, owner: str, id_: str) -> tuple[StoredAnswer, ...] | None:
        """Return an answer with all that it continues, the oldest first; None if one of them is not there.

        Raises `StoreFailed`, and `ContextLengthExceeded` beyond the most that is read. Blocks.
        """

        def work() -> tuple[StoredAnswer, ...] | None:
            with _problems():
                return self._walk(owner, id_)

        try:
            return self._calls.make("chain", work if is_id(id_) else _nothing)
        except TooLong:
            raise self._calls.too_long() from None

    def delete(self, owner: str, id_: str) -> bool:
        """Remove an answer; return False if it was not there. Raises `StoreFailed`. Blocks."""

        def work() -> bool:
            with _problems():
                self._redis.delete(_held_key(owner, id_))
                return bool(self._redis.delete(_key(owner, id_)))

        return bool(self._calls.make("delete", work if is_id(id_) else _nothing))

    def add_usage(self, batch: UsageBatch, *, is_last: bool = False) -> int:
        """Add counts once; return how many requests found no row of their own. Raises `StoreFailed`. Blocks."""

        def work() -> int:
            with _problems():
                return redis_usage.add(self._redis, batch)

        return self._calls.make("add_usage", work, is_last=is_last)

    def usage(self, query: UsageQuery) -> dict[RowName, Counts]:
        """Return rows of usage, the newest day first. Raises `StoreFailed`. Blocks."""

        def work() -> dict[RowName, Counts]:
            with _problems():
                return redis_usage.read(self._redis, query)

        return self._calls.make("usage", work)

    def start(self) -> None:
        """Do nothing: Redis itself removes what is too old."""

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def ping(self) -> None:
        """Find out whether Redis answers. Raises `Problem`. Blocks."""
        with _problems():
            self._redis.ping()

    def _members(self, stored: StoredAnswer) -> dict[Any, Any]:
        """Return the hash of an answer. Asks for where the one that it continues stands."""
        pause()
        ancestors: list[str] = []
        depth, size = 1, stored.cost
        if stored.before is not None:
            key = _key(stored.owner, stored.before)
            known = self._redis.hmget(key, "ancestors", "depth", "size")
            ancestors = [stored.before, *orjson.loads(known[0] or b"[]")][:_BATCH]
            depth, size = depth + int(known[1] or 0), size + int(known[2] or 0)
        return {
            "created": stored.created,
            "before": stored.before or "",
            "ancestors": orjson.dumps(ancestors),
            "depth": depth,
            "size": size,
            "answer": stored.answer,
            "given": stored.given,
            "made": stored.made,
            "shape": stored.shape,
            "holder": stored.holder,
        }

    def _store(self, pipe: Any, stored: StoredAnswer, members: dict[Any, Any]) -> None:
        """Put into a transaction what stores an answer."""
        key, held = _key(stored.owner, stored.id), _held_key(stored.owner, stored.id)
        pipe.delete(key, held)
        pipe.hset(key, mapping=members)
        pipe.expire(key, self._ttl_s)
        if stored.holder:
            pipe.set(held, stored.holder, px=round(HOLD_S * 1000))
        for part in stored.parts:
            pipe.set(_part_key(stored.owner, part), stored.id, ex=self._ttl_s)

    def _as_holder(self, owner: str, id_: str, holder: str, change: Callable[[Any], None]) -> bool:
        """Make a change if an answer is the holder's, in one step; return whether it was."""
        pause()
        key = _key(owner, id_)

        def attempt(pipe: Any) -> bool:
            if pipe.hget(key, "holder") != holder.encode():
                return False
            pipe.multi()
            change(pipe)
            return True

        run: Callable[..., Any] = (
            self._redis.transaction
        )  # its types know no function that returns something
        return bool(run(attempt, key, value_from_callable=True))

    def _walk(self, owner: str, id_: str) -> tuple[StoredAnswer, ...] | None:
        """Return a chain, the oldest first. Raises `TooLong`."""
        found: dict[str, StoredAnswer] = {}
        ids: Sequence[str] = [id_]
        while ids:
            for read in self._read(owner, ids):
                if read is None:
                    return None
                is_circle = read.stored.id in found  # in which each has a small depth
                if is_circle or read.depth > MOST_CHAIN_ANSWERS or read.size > MOST_CHAIN_BYTES:
                    raise TooLong
                found[read.stored.id] = read.stored
                ids = read.ancestors
        return tuple(reversed(found.values()))

    def _read(self, owner: str, ids: Sequence[str]) -> list[_Read | None]:
        """Return answers, in one round trip, in which they are used."""
        pause()  # a Redis that answers at once makes no greenlet wait
        with self._redis.pipeline(transaction=False) as pipe:
            for id_ in ids:
                pipe.hgetall(_key(owner, id_))
                pipe.expire(_key(owner, id_), self._ttl_s)
                pipe.exists(_held_key(owner, id_))
            found = pipe.execute()
        answers = zip(ids, found[::3], found[2::3], strict=True)
        return [_parsed(owner, *answer) for answer in answers]

    def __repr__(self) -> str:
        return f"<RedisStore{' lost' if self.problem else ''}>"


def _nothing() -> None:
    """Find nothing: what is asked for cannot be an id."""


def _key(owner: str, id_: str) -> str:
    # A digest has one length, so that no id of a caller's leads to the answers of another owner.
    return f"{PREFIX}:{_digest(owner)}:{id_}"


def _digest(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def _held_key(owner: str, id_: str) -> str:
    return f"{PREFIX}-held:{_digest(owner)}:{id_}"


def _part_key(owner: str, part: str) -> str:
    return f"{PREFIX}-part:{_digest(owner)}:{part}"


def _parsed(owner: str, id_: str, members: dict[bytes, bytes], is_held: int) -> _Read | None:
    """Return the answer of a hash, None if it is not there (or was only just removed)."""
    try:
        created, before, ancestors, depth, size = (members[name] for name in _PLACE)
        answer, given, made = (members[name] for name in _CONTENTS)
    except KeyError:
        return None
    continued = before.decode() or None
    stored = StoredAnswer(
        id_,
        owner,
        int(created),
        continued,
        answer,
        given,
        made,
        shape=members.get(b"shape", b""),
        holder=members.get(b"holder", b"").decode(),
        is_held=bool(is_held),
    )
    return _Read(stored, orjson.loads(ancestors), int(depth), int(size))


_PLACE = (b"created", b"before", b"ancestors", b"depth", b"size")
_CONTENTS = (b"answer", b"given", b"made")


@contextmanager
def _problems() -> Iterator[None]:
    """Raise `Problem` for what the library raises."""
    from redis import RedisError  # noqa: PLC0415
    from redis.exceptions import ConnectionError as Lost  # noqa: PLC0415
    from redis.exceptions import TimeoutError as Slow  # noqa: PLC0415

    try:
        yield
    except RedisError as error:
        # Only its kind: the text may hold the address, and that a password.
        kind = type(error).__name__
        raise Problem("redis", kind, is_outage=isinstance(error, Lost | Slow)) from None
