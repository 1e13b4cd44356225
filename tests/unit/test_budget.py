"""A counted resource: exact at its limit, and given back once."""

from __future__ import annotations

import pytest

from app.budget import Budget


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
