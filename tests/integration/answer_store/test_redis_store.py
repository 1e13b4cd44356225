"""The store in a real Redis, which two replicas share, which goes away and comes back."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.answer_store.calls import Problem
from app.answer_store.look import look_at
from app.answer_store.redis_store import RedisStore
from app.answer_store.stored_answer import HOLD_S, MOST_CHAIN_ANSWERS, Hooks, StoredAnswer
from app.answer_store.usage_counts import Counts, RowName, UsageBatch, UsageQuery
from app.errors import ContextLengthExceeded, StoreFailed
from tests.e2e.harness import wait_until
from tests.fakes.redis_server import PASSWORD, RedisServer
from tests.fakes.stored_answers import chained, stored

pytestmark = pytest.mark.system

MB = 1 << 20
DAY_S = 86_400


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


MakeStore = Callable[..., RedisStore]


@pytest.fixture
def make(redis: RedisServer) -> Iterator[MakeStore]:
    made: list[RedisStore] = []

    def make(url: str = redis.url, hooks: Hooks | None = None) -> RedisStore:
        made.append(RedisStore(url, DAY_S, hooks))
        return made[-1]

    yield make
    for store in made:
        store.close()


def put(store: RedisStore, *answers: StoredAnswer) -> None:
    for answer in answers:
        store.put(answer)


def key_of(redis: RedisServer, id_: str) -> str:
    (key,) = redis.ask("KEYS", f"codex-api:answer:*:{id_}").split()
    return key


def test_an_answer_is_found_by_its_parts_until_it_is_gone(make: MakeStore) -> None:
    one, other = make(), make()
    put(one, replace(stored("resp_1"), parts=("rs_1", "msg_1")))
    assert other.find("ann", "msg_1") == stored("resp_1")
    assert other.find("bob", "msg_1") is None
    assert other.find("ann", "msg_2") is None
    one.delete("ann", "resp_1")
    assert other.find("ann", "msg_1") is None


def test_what_one_replica_stores_another_finds_as_it_was(make: MakeStore) -> None:
    one, other = make(), make()
    put(one, *chained(3))
    assert other.get("ann", "resp_2") == stored("resp_2", "resp_1")
    assert other.chain("ann", "resp_2") == tuple(chained(3))
    assert other.delete("ann", "resp_1") is True
    assert one.delete("ann", "resp_1") is False
    assert one.chain("ann", "resp_2") is None
    assert one.get("ann", "resp_1") is None


@pytest.mark.parametrize("count", [1, 64, 65, 66, 129, 2_000])
def test_a_chain_is_found_whole_with_the_oldest_first(make: MakeStore, count: int) -> None:
    store, answers = make(), list(chained(count))
    put(store, *answers)
    assert store.chain("ann", answers[-1].id) == tuple(answers)


def test_another_owner_finds_deletes_and_continues_nothing(make: MakeStore) -> None:
    store = make()
    put(store, stored("resp_1"), stored("resp_2", "resp_1", "bob"))
    assert store.get("bob", "resp_1") is None
    assert store.delete("bob", "resp_1") is False
    assert store.chain("bob", "resp_2") is None
    put(store, stored("b:c", owner="a"), stored("c", owner="a:b"))
    assert store.get("a:b", "c") == stored("c", owner="a:b")
    assert store.get("a", "b:c") == stored("b:c", owner="a")


@pytest.mark.parametrize("id_", ["", "x" * 201, "\0", "é", "\ud800", "a\nb"])
def test_what_cannot_be_an_id_is_not_there(make: MakeStore, id_: str) -> None:
    store = make()
    assert store.get("ann", id_) is None
    assert store.chain("ann", id_) is None
    assert store.delete("ann", id_) is False


def test_a_chain_that_is_too_long_is_refused(make: MakeStore) -> None:
    store = make()
    put(store, *chained(5, "large", size=5 * MB))
    assert len(store.chain("ann", "large_3") or ()) == 4
    with pytest.raises(ContextLengthExceeded):
        store.chain("ann", "large_4")
    put(store, *chained(MOST_CHAIN_ANSWERS + 1, size=0))
    with pytest.raises(ContextLengthExceeded):
        store.chain("ann", f"resp_{MOST_CHAIN_ANSWERS}")
    with pytest.raises(StoreFailed, match="too large to be stored"):
        store.put(stored("x", size=22 * MB))


def test_an_answer_that_continues_itself_has_an_end(make: MakeStore) -> None:
    store = make()
    put(store, stored("a", "b"), stored("b", "a"), stored("self", "self"))
    for id_ in ("a", "b", "self"):
        with pytest.raises(ContextLengthExceeded):
            store.chain("ann", id_)


@pytest.mark.parametrize("read", ["get", "chain"])
def test_keys_have_a_prefix_and_a_time_that_begins_anew_with_each_use(
    make: MakeStore, redis: RedisServer, read: str
) -> None:
    store = make()
    put(store, *chained(3))
    keys = redis.ask("KEYS", "*").split()
    assert len(keys) == 3
    assert all(key.startswith("codex-api:answer:") and "ann" not in key for key in keys)
    for key in keys:
        redis.ask("EXPIRE", key, "100")
    assert getattr(store, read)("ann", "resp_2") is not None
    used = ["resp_2"] if read == "get" else ["resp_0", "resp_1", "resp_2"]
    assert all(int(redis.ask("TTL", key_of(redis, id_))) > 100 for id_ in used)


def test_without_redis_calls_fail_at_once_until_it_is_back(
    make: MakeStore, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    calls: Counter[tuple[str, str]] = Counter()
    store = make(hooks=Hooks(lambda *call: calls.update([call])))
    put(store, stored("before"))
    redis.kill()
    with caplog.at_level(logging.INFO, "codex_api.answer_store"):
        for _ in range(50):
            with pytest.raises(StoreFailed):
                store.put(stored("x"))
            with pytest.raises(StoreFailed):
                store.get("ann", "x")
        assert store.problem == "redis"
        assert calls["put", "failed"] == calls["get", "failed"] == 50
        redis.start()
        wait_until(lambda: not refused(store), "it is found again")
    assert store.get("ann", "after") == stored("after")
    said = [record.getMessage() for record in caplog.records]
    assert said.count("answer_store_back") == 1
    assert PASSWORD not in "".join(str(vars(record)) for record in caplog.records)


def refused(store: RedisStore) -> bool:
    try:
        store.put(stored("after"))
        store.get("ann", "after")
    except StoreFailed:
        return True
    return False


def test_a_redis_without_room_refuses_what_is_new(make: MakeStore, redis: RedisServer) -> None:
    store = make()
    put(store, stored("before"))
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreFailed):
        store.put(stored("x"))
    assert store.get("ann", "before") == stored("before")
    redis.ask("CONFIG", "SET", "maxmemory", "0")
    put(store, stored("x"))


def test_a_wrong_password_is_a_failure_that_shows_none(
    make: MakeStore, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = make(redis.url.replace(PASSWORD, "canary-password"))
    with pytest.raises(StoreFailed) as refusal:
        store.get("ann", "x")
    told = "".join(str(vars(record)) for record in caplog.records) + repr(store)
    assert "canary" not in told + str(refusal.value) + repr(refusal.value.__context__)


def test_a_look_from_outside(redis: RedisServer, tmp_path: Path) -> None:
    assert look_at(redis.url, tmp_path) is None
    with pytest.raises(Problem):
        look_at(redis.url.replace(PASSWORD, "canary-password"), tmp_path)


# Who works on it


def test_one_that_is_worked_on_says_so_for_a_while(redis: RedisServer, make: MakeStore) -> None:
    one, other = make(), make()
    one.put(replace(stored("resp_1"), holder="me"))
    found = other.get("ann", "resp_1")
    assert found is not None
    assert (found.holder, found.is_held) == ("me", True)
    assert other.is_held("ann", "resp_1")
    assert one.hold("ann", "resp_1", "me", b'"more"')
    assert not other.hold("ann", "resp_1", "other")
    assert not other.hold("ann", "resp_none", "me")
    (held,) = redis.ask("KEYS", "codex-api:answer-held:*").split()
    assert 0 < int(redis.ask("PTTL", held)) <= HOLD_S * 1000
    redis.ask("DEL", held)  # as its time would
    found = other.get("ann", "resp_1")
    assert found is not None
    assert (found.answer, found.holder, found.is_held) == (b'"more"', "me", False)
    assert one.hold("ann", "resp_1", "me"), "it was only slow"
    assert other.is_held("ann", "resp_1")


def test_only_who_works_on_it_says_how_it_ended(redis: RedisServer, make: MakeStore) -> None:
    one, other = make(), make()
    one.put(replace(stored("resp_1"), holder="me"))
    over = replace(stored("resp_1"), made=b"[4]", shape=b"{}")
    assert not other.settle(over, "other")
    assert one.settle(over, "me")
    assert other.get("ann", "resp_1") == over
    assert redis.ask("KEYS", "codex-api:answer-held:*") == ""
    assert not one.settle(over, "me"), "it is over"
    assert not one.hold("ann", "resp_1", "me")
    assert not one.settle(stored("resp_2"), "me")
    assert other.get("ann", "resp_2") is None


def test_usage_is_added_once_and_read_with_the_newest_day_first(make: MakeStore) -> None:
    one, other = make(), make()
    days = ("2026-11-28", "2026-11-29", "2026-11-30")
    names = [RowName(day, key, "m") for day in days for key in ("bob", "ann")]
    batch = UsageBatch("w", 1, dict.fromkeys(names, Counts(1, 0, 7)), days[0], 90)
    for store in (one, one, other):
        store.add_usage(batch)
    found = other.usage(UsageQuery(days[1], days[2]))
    assert list(found) == [names[5], names[4], names[3], names[2]]
    assert set(found.values()) == {Counts(1, 0, 7)}
    assert list(one.usage(UsageQuery(days[0], days[2], key="bob"))) == names[4::-2]
