"""Kept threads: which one a request finds, and which have to go."""

from __future__ import annotations

from typing import Any

import pytest

from app.backend.events import Usage
from app.backend.protocols import EVICTIONS, LOOKUPS
from app.backends.app_server.conversation import read
from app.backends.app_server.kept_threads import MOST_BYTES, Found, KeptLimits, KeptThreads
from app.backends.app_server.thread import Thread
from tests.unit.backends.app_server.items import asked, call, output, said, thought
from tests.unit.backends.app_server.kept import answered, terms, waiting

Q, A, NEXT = asked("q"), said("a"), asked("next")
LONG = 8 * 1024
CACHED = Usage(1000, 0, 24, 0, 1024)


def keeping(*threads: Thread, count: int = 8, ttl_s: float = 60.0) -> KeptThreads:
    kept = KeptThreads(KeptLimits(count, ttl_s))
    for now, thread in enumerate(threads):
        kept.keep(thread, now)
    return kept


def named(threads: list[Thread]) -> list[str]:
    return [thread.turn.thread_id for thread in threads]


def test_the_words_for_what_was_found_are_those_of_the_metrics() -> None:
    assert {found.value for found in Found} == set(LOOKUPS)
    assert {Found.EVICTED.value, Found.EXPIRED.value} < set(EVICTIONS)


# Finding


def test_a_request_that_begins_with_what_a_thread_holds_takes_it() -> None:
    thread = answered(Q, answer=A)
    kept = keeping(thread)
    found = kept.take(terms(), read((Q, A, NEXT)))
    assert not isinstance(found, Found)
    assert (found[0], found[1].length) == (thread, 2)
    assert (len(kept), kept.size) == (0, 0)
    assert kept.take(terms(), read((Q, A, NEXT))) is Found.TAKEN


def test_of_several_the_one_that_holds_most_is_taken() -> None:
    short, long = answered(Q, answer=A, name="short"), answered(Q, A, NEXT, answer=A, name="long")
    kept = keeping(long, short)
    found = kept.take(terms(), read((Q, A, NEXT, A, NEXT)))
    assert not isinstance(found, Found)
    assert found[0] is long


@pytest.mark.parametrize(
    ("items", "asked_under", "reason"),
    [
        pytest.param((Q,), {}, Found.FIRST, id="first"),
        pytest.param((Q, said("b"), NEXT), {}, Found.OTHER, id="another answer"),
        pytest.param((asked("p"), A, NEXT), {}, Found.OTHER, id="another question"),
        pytest.param((Q, asked("r"), A, NEXT), {}, Found.OTHER, id="one more before"),
        pytest.param((A, NEXT), {}, Found.OTHER, id="cut off"),
        pytest.param((Q, A, NEXT), {"owner": "other"}, Found.OTHER, id="another key"),
        pytest.param((Q, A, NEXT), {"model": "n"}, Found.TERMS, id="another model"),
        pytest.param((Q, A, NEXT), {"effort": "high"}, Found.TERMS, id="another effort"),
        pytest.param((Q, A, NEXT), {"conversation": "x"}, Found.NAME, id="another name"),
        pytest.param(
            (Q, thought(), A, NEXT), {}, Found.OTHER, id="reasoning that it does not hold"
        ),
    ],
)
def test_any_difference_is_a_miss_with_a_reason(
    items: Any, asked_under: dict[str, Any], reason: Found
) -> None:
    kept = keeping(answered(Q, answer=A))
    assert kept.take(terms(**asked_under), read(items)) is reason
    assert len(kept) == 1


def test_where_none_is_kept_none_is_looked_for() -> None:
    kept = keeping(count=0)
    thread = answered(Q, answer=A)
    assert kept.keep(thread, 0) == [thread]
    assert kept.take(terms(), read((Q, A, NEXT))) is Found.OFF


def test_one_that_waits_for_results_wants_them_all_and_the_same_schema() -> None:
    kept = keeping(waiting(Q, calls=[call()]))
    assert kept.take(terms(), read((Q, call(), asked("never mind")))) is Found.RESULTS
    with_results = read((Q, call(), output()))
    assert kept.take(terms(output_schema={"type": "object"}), with_results) is Found.TERMS
    assert not isinstance(kept.take(terms(), with_results), Found)


def test_a_schema_lasts_as_long_as_a_turn() -> None:
    kept = keeping(answered(Q, answer=A))
    found = kept.take(terms(output_schema={"type": "object"}), read((Q, A, NEXT)))
    assert not isinstance(found, Found)


def test_two_that_hold_the_same_serve_two() -> None:
    kept = keeping(answered(Q, answer=A, name="1"), answered(Q, answer=A, name="2"))
    found = [kept.take(terms(), read((Q, A, NEXT))) for _ in range(3)]
    assert [it if isinstance(it, Found) else it[0].turn.thread_id for it in found] == [
        "2",
        "1",
        Found.TAKEN,
    ]


# Bounds


def many(count: int, owner: str = "key", size: int = LONG, first: int = 0) -> list[Thread]:
    return [
        answered(
            asked(f"{owner} {n}"),
            answer=A,
            name=f"{owner}{n}",
            owner=owner,
            size=size,
            usage=CACHED,
        )
        for n in range(first, first + count)
    ]


def test_the_one_that_was_unused_longest_goes_first() -> None:
    kept = keeping(*many(8))
    (new,) = many(1, first=8)
    assert named(kept.keep(new, 8)) == ["key0"]
    assert kept.evicted == {"evicted": 1}
    assert kept.take(terms(), read((asked("key 0"), A, NEXT))) is Found.EVICTED


def test_what_is_too_short_for_the_upstreams_cache_goes_before() -> None:
    short = answered(Q, answer=A, name="short", size=9 * LONG)
    kept = keeping(*many(7), short)
    assert named(kept.keep(many(1, first=8)[0], 8)) == ["short"]


def test_the_key_that_has_most_gives_way() -> None:
    kept = keeping(*many(1, "other"), *many(7))
    assert named(kept.keep(many(1, "third")[0], 8)) == ["key0"]
    assert named(kept.keep(many(1, "other", first=1)[0], 9)) == ["key1"]


def test_bytes_are_bounded_and_the_key_that_has_most_of_them_gives_way() -> None:
    large = many(4, "large", MOST_BYTES // 4 - 2 * LONG)
    kept = keeping(*many(2, "small"), *large[:3])
    assert named(kept.keep(large[3], 9)) == []
    (new,) = many(1, "new", 9 * LONG)
    assert named(kept.keep(new, 10)) == ["large0"]
    assert kept.size <= MOST_BYTES


def test_one_that_is_too_large_is_not_kept_at_all() -> None:
    (thread,) = many(1, size=MOST_BYTES // 2 + 1)
    kept = keeping(*many(1, "other"))
    assert kept.keep(thread, 1) == [thread]
    assert len(kept) == 1


def test_time_is_bounded() -> None:
    kept = keeping(*many(3), ttl_s=10)
    assert kept.expire(9.9) == []
    assert named(kept.expire(11.5)) == ["key0", "key1"]
    assert kept.evicted == {"expired": 2}
    assert kept.take(terms(), read((asked("key 1"), A, NEXT))) is Found.EXPIRED
    assert len(kept) == 1


def test_all_of_them_can_be_given_up() -> None:
    kept = keeping(*many(3))
    assert len(kept.clear("memory")) == 3
    assert (len(kept), kept.size, kept.evicted) == (0, 0, {"memory": 3})


def test_one_that_is_kept_again_is_not_said_to_be_taken() -> None:
    thread = answered(Q, answer=A)
    kept = keeping(thread)
    kept.take(terms(), read((Q, A, NEXT)))
    kept.keep(thread, 1)
    assert not isinstance(kept.take(terms(), read((Q, A, NEXT))), Found)


def test_what_is_remembered_of_those_that_went_is_bounded() -> None:
    kept = keeping(count=1)
    first = many(1)
    for number, thread in enumerate([*first, *many(4200, first=1)]):
        kept.keep(thread, number)
    assert kept.take(terms(), read((asked("key 0"), A, NEXT))) is Found.OTHER
    assert kept.take(terms(), read((asked("key 4199"), A, NEXT))) is Found.EVICTED
