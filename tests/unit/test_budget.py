"""A counted resource: exact at its limit, given back once, and never all of one owner where several share it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.budget import Budget, SharedBudget, Shares


class Full(Exception):
    pass


def test_the_limit_is_exact_and_a_release_makes_room() -> None:
    budget = Budget(3, Full)
    held = [budget.reserve() for _ in range(3)]
    for refused in (budget.check, budget.reserve):
        with pytest.raises(Full):
            refused()
    assert budget.used == 3
    held[1].release()
    budget.check()
    budget.reserve()
    assert budget.used == 3


def test_a_reservation_is_given_back_once_however_often_it_is_released() -> None:
    budget = Budget(9, Full)
    one, other = budget.reserve(4), budget.reserve(2)
    for _ in range(3):
        one.release()
    assert (budget.used, one.amount) == (2, 0)
    other.release()
    assert budget.used == 0


def test_a_reservation_grows_and_shrinks() -> None:
    budget = Budget(10, Full)
    held = budget.reserve(0)
    held.grow(7)
    held.shrink(3)
    held.grow(6)
    assert (budget.used, held.amount) == (10, 10)
    with pytest.raises(Full):
        held.grow(1)
    assert (budget.used, held.amount) == (10, 10)
    held.release()
    held.shrink(5)
    assert (budget.used, held.amount) == (0, 0)


def test_a_with_block_gives_back_at_its_end_however_it_ends() -> None:
    budget = Budget(1, Full)

    def fail() -> None:
        with budget.reserve() as held:
            assert (budget.used, held.amount) == (1, 1)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        fail()
    with budget.reserve() as held:
        held.release()
    assert budget.used == 0
    assert repr(budget) == "<Budget 0/1>"


def test_the_refusal_is_made_anew_for_each_that_is_refused() -> None:
    made: list[Full] = []

    def refusal() -> Full:
        made.append(Full(len(made)))
        return made[-1]

    budget = Budget(0, refusal)
    for number in range(2):
        with pytest.raises(Full) as refused:
            budget.reserve()
        assert refused.value.args == (number,)


# Several owners


def fill(shares: Shares, owner: str) -> int:
    """Take one by one whatever is free and within the owner's share; return what the owner has."""
    while shares.used < shares.limit and shares.may_have(owner, 1):
        shares.add(owner, 1)
    return shares.of(owner)


@pytest.mark.parametrize(
    ("limit", "takes"),
    [
        (64, [48, 12, 3, 1, 0]),
        (256, [192, 48, 12, 3, 1, 0]),
        (8, [6, 1, 1, 0]),
        (2, [1, 1, 0]),
        (1, [1, 0]),
    ],
)
def test_each_that_comes_finds_something_as_long_as_any_is_left(
    limit: int, takes: list[int]
) -> None:
    shares = Shares(limit, is_split=True)
    assert [fill(shares, f"owner {n}") for n in range(len(takes))] == takes


@pytest.mark.parametrize("limit", [1, 2, 64])
def test_an_only_owner_may_have_all(limit: int) -> None:
    assert fill(Shares(limit, is_split=False), "only") == limit


def test_what_the_first_gives_back_goes_to_the_second_until_they_have_alike() -> None:
    shares = Shares(64, is_split=True)
    fill(shares, "first")
    for _ in range(40):
        shares.add("first", -1)
        fill(shares, "first")
        fill(shares, "second")
    assert (shares.of("first"), shares.of("second")) == (27, 27)


def test_an_owner_that_has_none_may_have_as_many_at_once_as_are_there() -> None:
    shares = Shares(8, is_split=True)
    assert shares.may_have("one", 8)
    shares.add("one", 2)
    assert [shares.may_have("one", more) for more in (4, 5)] == [True, False]


def test_up_to_the_floor_nothing_is_too_much() -> None:
    shares = Shares(100, is_split=True, floor=60)
    shares.add("greedy", 60)
    assert not shares.may_have("greedy", 16)
    assert [fill(shares, name) for name in ("second", "third")] == [40, 0]


@given(
    st.integers(1, 50), st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 9)), max_size=80)
)
def test_a_split_budget_is_never_exceeded_and_never_all_of_one_that_took_it_by_and_by(
    limit: int, wanted: list[tuple[str, int]]
) -> None:
    budget = SharedBudget(Shares(limit, is_split=True), Full)
    for owner, amount in wanted:
        had = budget.shares.of(owner)
        try:
            budget.reserve(owner, amount)
        except Full as full:
            is_free = budget.shares.used + amount <= limit
            assert full.args == (is_free,)
        else:
            assert not had or budget.shares.used < limit
    assert budget.shares.used == sum(map(budget.shares.of, "abcd")) <= limit


def test_a_shared_budget_gives_back_to_the_owner_once() -> None:
    budget = SharedBudget(Shares(4, is_split=True), Full)
    with budget.reserve("one", 2) as held:
        held.grow(1)
        with pytest.raises(Full):
            held.grow(1)
        assert (budget.shares.of("one"), held.amount) == (3, 3)
        held.shrink(1)
        budget.check("one")
        held.release()
    assert (budget.shares.of("one"), budget.shares.used) == (0, 0)
    assert repr(budget) == "<SharedBudget 0/4>"
