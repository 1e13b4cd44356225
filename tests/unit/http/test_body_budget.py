"""The bytes of all bodies together, and how many arrive at once."""

from __future__ import annotations

import io

import pytest

from app.budget import Reservation
from app.errors import InvalidRequest, WorkerBusy
from app.http.body import read_blocks
from app.http.body_budget import BLOCK_BYTES, BodyBudget


def read(memory: Reservation, size: int) -> None:
    assert b"".join(read_blocks(io.BytesIO(bytes(size)).read, 1 << 30, memory)) == bytes(size)


def test_what_was_read_is_held_until_it_is_released_and_given_back_once() -> None:
    memory = BodyBudget(1_000_000, 10).memory
    first, second = memory.reserve("key", 0), memory.reserve("key", 0)
    read(first, 100_000)
    read(second, 50_000)
    assert memory.shares.used == 150_000
    first.release()
    first.release()
    assert memory.shares.used == 50_000
    second.release()
    assert memory.shares.used == 0


def test_one_body_too_many_is_refused_and_leaves_what_it_had_to_its_release() -> None:
    memory = BodyBudget(200_000, 10).memory
    first, second = memory.reserve("key", 0), memory.reserve("key", 0)
    read(first, 130_000)
    with pytest.raises(WorkerBusy) as refused:
        read(second, 130_000)
    assert refused.value.code == "BODIES_FULL"
    assert refused.value.retry_after_s
    assert memory.shares.used == 130_000 + second.amount
    second.release()
    assert memory.shares.used == 130_000


@pytest.mark.parametrize("error", [ConnectionResetError, KeyboardInterrupt])
def test_a_body_that_pauses_holds_one_block_and_gives_it_back_however_it_ends(
    error: type[BaseException],
) -> None:
    memory = BodyBudget(1_000_000, 10).memory

    def pause(size: int) -> bytes:
        assert size == memory.shares.used == BLOCK_BYTES
        raise error

    with pytest.raises((InvalidRequest, KeyboardInterrupt)):
        read_blocks(pause, 1 << 20, memory.reserve("key", 0))
    assert memory.shares.used == 0


def test_a_short_body_sets_little_aside() -> None:
    memory = BodyBudget(1_000, 10).memory

    def arrive(size: int) -> bytes:
        assert size == memory.shares.used == 901  # the limit, and the byte that would be too many
        return b""

    assert not read_blocks(arrive, 900, memory.reserve("key", 0))


@pytest.mark.parametrize("declared", [5, BLOCK_BYTES, BLOCK_BYTES + 1])
def test_what_was_declared_is_read_and_nothing_is_waited_for_after_it(declared: int) -> None:
    memory = BodyBudget(1 << 20, 10).memory
    connection = io.BytesIO(bytes(declared))

    def arrive(size: int) -> bytes:
        assert connection.tell() < declared, "it would block"
        return connection.read(size)

    blocks = read_blocks(arrive, 1 << 19, memory.reserve("key", 0), declared=declared)
    assert sum(map(len, blocks)) == memory.shares.used == declared


def test_a_body_that_ends_before_what_was_declared_is_as_long_as_it_is() -> None:
    reserved = BodyBudget(1 << 20, 10).memory.reserve("key", 0)
    assert [*read_blocks(io.BytesIO(b"half").read, 1 << 19, reserved, declared=8)] == [b"half"]


def test_only_so_many_arrive_at_once() -> None:
    budget = BodyBudget(1_000_000, 2)
    with budget.arriving.reserve("key"):
        with budget.arriving.reserve("key"):
            with pytest.raises(WorkerBusy) as refused:
                budget.arriving.reserve("key")
            assert refused.value.code == "BODIES_FULL"
            assert budget.arriving.shares.used == 2
        with budget.arriving.reserve("key"):
            assert budget.arriving.shares.used == 2
    assert (
        repr(budget) == "<BodyBudget memory=<SharedBudget 0/1000000> arriving=<SharedBudget 0/2>>"
    )


def test_one_key_leaves_some_of_both_to_others_and_is_told_whose_share_is_full() -> None:
    budget = BodyBudget(1_000_000, 8, is_split=True, longest=500_000)
    for part in (budget.memory, budget.arriving):
        limit = part.shares.limit
        part.reserve("greedy", limit * 3 // 4)
        with pytest.raises(WorkerBusy, match="of your key") as refused:
            part.reserve("greedy")
        assert (refused.value.code, refused.value.retryable) == ("BODIES_FULL", True)
        part.reserve("other", limit // 4)
        with pytest.raises(WorkerBusy, match="gateway"):
            part.reserve("third")


def test_a_body_of_the_longest_kind_is_never_more_than_a_share() -> None:
    memory = BodyBudget(1_000_000, 8, is_split=True, longest=1_000_000).memory
    read(memory.reserve("only", 0), 900_000)
