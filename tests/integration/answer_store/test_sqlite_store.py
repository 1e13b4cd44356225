"""The store in a real SQLite file: what is found, by whom, for how long, and what has to go."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from app.answer_store import sqlite_schema as sql
from app.answer_store.sqlite_store import SqliteStore
from app.answer_store.stored_answer import (
    HOLD_S,
    MOST_CHAIN_ANSWERS,
    Hooks,
    StoredAnswer,
    Totals,
)
from app.errors import ContextLengthExceeded, StoreFailed
from tests.fakes.stored_answers import GB, MONTH_S, chained, stored

MB = 1 << 20
OLDER_PUT = """
insert into answers (owner, id, conversation, created, before, cost, answer, given, made)
values ('ann', ?, 1, 1700000000, null, 1, x'31', x'32', x'33')
"""


class Stage:
    """A store with a clock of its own, and what its hooks were told."""

    def __init__(self, folder: Path, limit: int = GB, ttl_s: float = MONTH_S) -> None:
        self.now = 1_800_000_000.0
        self.calls: Counter[tuple[str, str]] = Counter()
        self.gone: Counter[str] = Counter()
        self.store = SqliteStore(
            folder, limit, ttl_s, Hooks(self._count, self._count_gone), lambda: self.now
        )

    def _count(self, call: str, result: str) -> None:
        self.calls[call, result] += 1

    def _count_gone(self, reason: str, count: int) -> None:
        self.gone[reason] += count

    def put(self, *answers: StoredAnswer) -> None:
        for answer in answers:
            self.store.put(answer)

    def has(self, id_: str, owner: str = "ann") -> bool:
        return self.store.get(owner, id_) is not None


MakeStage = Callable[..., Stage]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeStage]:
    made: list[Stage] = []

    def make(limit: int = GB, ttl_s: float = MONTH_S) -> Stage:
        made.append(Stage(tmp_path, limit, ttl_s))
        return made[-1]

    yield make
    for stage in made:
        stage.store.close()


def test_what_is_stored_is_found_as_it_was(make: MakeStage) -> None:
    stage, answer = make(), stored("resp_1", "resp_0")
    stage.put(answer)
    assert stage.store.get("ann", "resp_1") == answer
    assert stage.store.totals == Totals(1, answer.cost)


def test_what_is_not_there_is_not_found_and_no_file_is_made(
    make: MakeStage, tmp_path: Path
) -> None:
    stage = make()
    assert stage.store.get("ann", "resp_1") is None
    assert stage.store.chain("ann", "resp_1") is None
    assert stage.store.delete("ann", "resp_1") is False
    stage.store.sweep()
    assert list(tmp_path.iterdir()) == []
    assert stage.calls["get", "missing"] == 1


@pytest.mark.parametrize("id_", ["", "x" * 201, "\0", "é", "\ud800", "a\nb"])
def test_what_cannot_be_an_id_is_not_there(make: MakeStage, id_: str) -> None:
    stage = make()
    stage.put(stored("resp_1"))
    assert stage.store.get("ann", id_) is None
    assert stage.store.chain("ann", id_) is None
    assert stage.store.delete("ann", id_) is False


def test_another_owner_finds_deletes_and_continues_nothing(make: MakeStage) -> None:
    stage = make()
    stage.put(stored("resp_1"), stored("resp_2", "resp_1", "bob"))
    assert not stage.has("resp_1", "bob")
    assert stage.store.delete("bob", "resp_1") is False
    assert stage.store.chain("bob", "resp_2") is None
    stage.put(stored("resp_1", owner="bob", size=9))  # the same id is another answer
    assert [len(found.made) for found in stage.store.chain("bob", "resp_2") or ()] == [9, 3]
    assert stage.store.get("ann", "resp_1") == stored("resp_1")


@pytest.mark.parametrize("count", [1, 20, 5_000])
def test_a_chain_is_found_whole_with_the_oldest_first(make: MakeStage, count: int) -> None:
    stage, answers = make(), list(chained(count))
    stage.put(*answers)
    assert stage.store.chain("ann", answers[-1].id) == tuple(answers)
    assert stage.store.chain("ann", answers[0].id) == (answers[0],)


def test_branches_share_their_beginning(make: MakeStage) -> None:
    stage = make()
    stage.put(*chained(3), stored("other", "resp_1"))
    found = stage.store.chain("ann", "other") or ()
    assert [one.id for one in found] == ["resp_0", "resp_1", "other"]


def test_a_chain_without_one_of_its_answers_is_none(make: MakeStage) -> None:
    stage = make()
    stage.put(*chained(5))
    assert stage.store.delete("ann", "resp_1") is True
    assert stage.store.chain("ann", "resp_4") is None
    assert stage.store.chain("ann", "resp_0") is not None
    assert stage.has("resp_4")


def test_a_chain_of_too_many_answers_is_refused(make: MakeStage) -> None:
    stage = make()
    stage.put(*chained(MOST_CHAIN_ANSWERS + 1, size=0))
    assert len(stage.store.chain("ann", f"resp_{MOST_CHAIN_ANSWERS - 1}") or ()) == 10_000
    with pytest.raises(ContextLengthExceeded):
        stage.store.chain("ann", f"resp_{MOST_CHAIN_ANSWERS}")
    assert stage.calls["chain", "too_large"] == 1


def test_a_chain_of_too_many_bytes_is_refused_and_its_answers_are_found(make: MakeStage) -> None:
    stage = make()
    stage.put(*chained(5, size=5 * MB))
    assert len(stage.store.chain("ann", "resp_3") or ()) == 4
    with pytest.raises(ContextLengthExceeded):
        stage.store.chain("ann", "resp_4")
    assert stage.has("resp_4")


def test_an_answer_that_continues_itself_has_an_end(make: MakeStage) -> None:
    stage = make()
    stage.put(stored("a", "b"), stored("b", "a"))
    with pytest.raises(ContextLengthExceeded):
        stage.store.chain("ann", "a")


def test_the_same_id_again_replaces_and_stays_in_its_chain(make: MakeStage) -> None:
    stage = make()
    stage.put(*chained(2), stored("resp_0", size=10))
    assert [len(one.made) for one in stage.store.chain("ann", "resp_1") or ()] == [10, 3]
    assert stage.store.totals == Totals(2, stored("a", size=10).cost + stored("a").cost)


def test_an_answer_is_found_by_its_parts_until_it_is_gone(make: MakeStage) -> None:
    stage = make()
    one = replace(stored("resp_1"), parts=("rs_1", "msg_1"))
    other = replace(stored("resp_2", owner="bob"), parts=("rs_1",))
    stage.put(one, other)
    assert stage.store.find("ann", "msg_1") == replace(one, parts=())
    assert stage.store.find("bob", "rs_1") == replace(other, parts=())
    assert stage.store.find("bob", "msg_1") is None
    stage.put(replace(one, parts=("msg_2",)))
    assert stage.store.find("ann", "msg_1") is None
    assert stage.store.find("ann", "msg_2") is not None
    stage.store.delete("ann", "resp_1")
    assert stage.store.find("ann", "msg_2") is None
    assert stage.calls["find", "missing"] == 3


def test_of_several_answers_with_one_part_the_last_is_found(make: MakeStage) -> None:
    stage = make()
    stage.put(*(replace(stored(f"resp_{n}"), parts=("rs_1",)) for n in range(3)))
    found = stage.store.find("ann", "rs_1")
    assert found is not None
    assert found.id == "resp_2"


def test_deleting_gives_the_room_back(make: MakeStage) -> None:
    stage = make()
    stage.put(*chained(3))
    assert [stage.store.delete("ann", f"resp_{n}") for n in range(3)] == [True] * 3
    assert stage.store.totals == Totals()
    assert stage.store.delete("ann", "resp_0") is False
    assert stage.gone == {}


# Room


def test_of_the_owner_that_has_most_the_oldest_goes(make: MakeStage) -> None:
    stage = make(limit=MB)
    one = stored("x", size=20_000).cost
    for number in range(MB // one):
        stage.now += 1
        stage.put(stored(f"a{number}", size=20_000))
    stage.put(stored("b0", owner="bob", size=20_000))
    assert stage.has("b0", "bob")
    assert [stage.has(f"a{number}") for number in range(3)] == [False, True, True]
    assert stage.gone == {"evicted": 1}
    for number in range(100):
        stage.put(stored(f"c{number}", size=20_000))
    assert stage.has("b0", "bob")  # what one stores does not push out another's
    assert stage.store.totals.size <= MB


def test_of_one_owner_the_conversation_used_longest_ago_goes_first(make: MakeStage) -> None:
    stage = make(limit=MB)
    stage.put(*chained(5, "old", size=20_000))
    stage.now += 1
    stage.put(*chained(5, "other", size=20_000))
    stage.now += 1
    stage.put(stored("old_5", "old_4", size=20_000))  # goes on, and with it its beginning
    for number in range(10):
        stage.now += 1
        stage.put(stored(f"new{number}", size=20_000))
    assert len(stage.store.chain("ann", "old_5") or ()) == 6
    assert not stage.has("other_0")


def test_a_conversation_that_is_all_there_is_loses_its_beginning(make: MakeStage) -> None:
    stage = make(limit=MB)
    stage.put(*chained(50, size=20_000))
    assert stage.has("resp_49")
    assert not stage.has("resp_0")
    assert stage.store.chain("ann", "resp_49") is None


def test_a_large_answer_makes_room_in_steps(make: MakeStage) -> None:
    stage = make(limit=4 * MB)
    stage.put(*(stored(f"a{number}", size=0) for number in range(4_000)))
    before = stage.store.totals.answers
    stage.put(stored("large", owner="bob", size=300_000))
    assert stage.has("large", "bob")
    assert stage.store.totals.size <= 4 * MB
    assert stage.gone["evicted"] == before + 1 - stage.store.totals.answers > 100


def test_what_is_larger_than_a_quarter_is_refused_with_the_reason(make: MakeStage) -> None:
    stage = make(limit=MB)
    stage.put(stored("small"))
    with pytest.raises(StoreFailed, match=f"too large to be stored: {MB // 4} bytes are the most"):
        stage.put(stored("large", size=MB // 4))
    assert stage.has("small")
    assert stage.calls["put", "too_large"] == 1


def test_the_file_grows_no_further_than_its_limit_and_shrinks_again(
    make: MakeStage, tmp_path: Path
) -> None:
    stage = make(limit=2 * MB)
    stage.put(*(stored(f"a{number}", size=20_000) for number in range(200)))
    stage.store.close()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 3 * MB
    again = make(limit=2 * MB)
    again.now += MONTH_S + 1
    again.store.sweep()
    assert again.store.totals == Totals()
    again.store.close()
    assert file.stat().st_size < 200_000


# Age


def test_what_was_not_used_for_its_time_is_not_found_and_removed(make: MakeStage) -> None:
    stage = make(ttl_s=100)
    stage.put(*chained(120))
    stage.now += 99
    assert stage.has("resp_5")
    stage.now += 101
    assert not stage.has("resp_5")
    assert stage.store.chain("ann", "resp_5") is None
    assert stage.store.totals.answers == 120
    stage.store.sweep()
    assert stage.store.totals == Totals()
    assert stage.gone == {"expired": 120}


def test_a_conversation_that_goes_on_does_not_lose_its_beginning(make: MakeStage) -> None:
    stage = make(ttl_s=100)
    stage.put(stored("idle"))
    for answer in chained(5):
        stage.put(answer)
        stage.now += 60
        stage.store.sweep()
    assert len(stage.store.chain("ann", "resp_4") or ()) == 5
    assert not stage.has("idle")


@pytest.mark.parametrize("read", ["get", "chain"])
def test_what_is_read_is_used(make: MakeStage, read: str) -> None:
    stage = make(ttl_s=100)
    stage.put(*chained(3))
    for _ in range(3):
        stage.now += 60
        assert getattr(stage.store, read)("ann", "resp_2") is not None
    assert stage.has("resp_0")


def test_a_deleted_answers_words_are_not_left_in_the_file(make: MakeStage, tmp_path: Path) -> None:
    stage = make()
    secret = b'["a-canary-of-words"]'
    stage.put(StoredAnswer("resp_1", "ann", 1, None, b"{}", secret, b"[]"), stored("resp_2"))
    stage.store.delete("ann", "resp_1")
    stage.store.close()
    (file,) = tmp_path.iterdir()
    assert b"canary" not in file.read_bytes()


# Owners take turns


def test_one_owners_writes_do_not_delay_anothers(make: MakeStage) -> None:
    stage = make()
    order: list[str] = []

    def put(answer: StoredAnswer) -> None:
        stage.store.put(answer)
        order.append(answer.owner)

    flood = [gevent.spawn(put, stored(f"a{number}", size=10_000)) for number in range(100)]
    gevent.sleep(0)  # they are all in the line
    other = gevent.spawn(put, stored("b", owner="bob"))
    gevent.joinall([*flood, other])
    assert order.index("bob") <= 2


def test_the_line_is_bounded_and_has_room_for_others(make: MakeStage) -> None:
    stage = make()

    def put(answer: StoredAnswer) -> bool:
        try:
            stage.store.put(answer)
        except StoreFailed:
            return False
        return True

    flood = [gevent.spawn(put, stored(f"a{number}")) for number in range(300)]
    gevent.sleep(0)
    other = gevent.spawn(put, stored("b", owner="bob"))
    gevent.joinall([*flood, other])
    assert other.value is True
    assert Counter(one.value for one in flood) == {True: 192, False: 108}
    assert stage.calls["put", "failed"] == 108


def test_after_its_end_nothing_is_stored(make: MakeStage) -> None:
    stage = make()
    stage.store.start()
    stage.put(stored("resp_1"))
    stage.store.close()
    with pytest.raises(StoreFailed):
        stage.put(stored("resp_2"))
    assert make().has("resp_1")


# Who works on it


def test_one_that_is_worked_on_says_so_for_a_while(make: MakeStage) -> None:
    stage = make()
    stage.put(replace(stored("resp_1"), holder="me"))
    found = stage.store.get("ann", "resp_1")
    assert found is not None
    assert (found.holder, found.is_held) == ("me", True)
    stage.now += HOLD_S - 1
    assert stage.store.is_held("ann", "resp_1")
    assert stage.store.hold("ann", "resp_1", "me", b'"more"')
    stage.now += HOLD_S - 1
    found = stage.store.get("ann", "resp_1")
    assert found is not None
    assert (found.answer, found.is_held) == (b'"more"', True)
    stage.now += 2
    found = stage.store.get("ann", "resp_1")
    assert found is not None
    assert (found.holder, found.is_held) == ("me", False)
    assert not stage.store.is_held("ann", "resp_1")
    assert stage.store.hold("ann", "resp_1", "me"), "it was only slow"
    assert stage.store.is_held("ann", "resp_1")
    assert not stage.store.hold("ann", "resp_1", "other")
    assert not stage.store.hold("bob", "resp_1", "me")


def test_only_who_works_on_it_says_how_it_ended(make: MakeStage) -> None:
    stage = make()
    stage.put(replace(stored("resp_1"), holder="me"))
    over = replace(stored("resp_1"), made=b"[4]", shape=b"{}")
    assert not stage.store.settle(over, "other")
    assert stage.store.settle(over, "me")
    assert stage.store.get("ann", "resp_1") == over
    assert not stage.store.settle(over, "me"), "it is over"
    assert not stage.store.hold("ann", "resp_1", "me")
    assert not stage.store.settle(stored("resp_2"), "me")
    assert stage.store.totals.answers == 1


def test_one_that_is_worked_on_is_used(make: MakeStage) -> None:
    stage = make(ttl_s=60)
    stage.put(replace(stored("resp_1"), holder="me"))
    for _ in range(10):
        stage.now += 15
        assert stage.store.hold("ann", "resp_1", "me")
    stage.store.sweep()
    assert stage.has("resp_1")


def test_a_file_of_an_older_version_gets_what_it_lacks(make: MakeStage, tmp_path: Path) -> None:
    older = sqlite3.connect(tmp_path / "answers-1.sqlite", isolation_level=None)
    for statement in (*sql.PRAGMAS, *sql.TABLES):
        older.execute(statement).fetchall()
    older.execute("insert into conversations values (1, 'ann', 1800000000.0)")
    older.execute(OLDER_PUT, ("resp_1",))
    stage = make()
    found = stage.store.get("ann", "resp_1")
    assert found is not None
    assert (found.answer, found.shape, found.holder, found.is_held) == (b"1", b"", "", False)
    stage.put(replace(stored("resp_2", "resp_1"), holder="me"))
    older.execute(OLDER_PUT, ("resp_3",))
    assert stage.has("resp_3"), "a worker of the older version goes on with it"
    older.close()
