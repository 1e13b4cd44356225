import pytest

from app.errors import WorkerBusy
from app.http.body_budget import BLOCK_BYTES, BodyBudget, Reservation


def read(share: Reservation, size: int, most: int = 1 << 30) -> None:
    """Take a body of that many bytes as `app.http.body` does."""
    while size:
        with share.block(most) as block:
            came = min(block, size)
            share.keep(came)
        size -= came


def test_what_was_read_is_held_until_it_is_released_and_given_back_once() -> None:
    memory = BodyBudget(1_000_000, 10)
    first, second = memory.share(), memory.share()
    read(first, 100_000)
    read(second, 50_000)
    assert memory.held == 150_000
    first.release()
    first.release()
    assert memory.held == 50_000
    second.release()
    assert memory.held == 0


def test_one_body_too_many_is_refused_and_leaves_what_it_had_to_its_release() -> None:
    memory = BodyBudget(200_000, 10)
    first, second = memory.share(), memory.share()
    read(first, 130_000)
    with pytest.raises(WorkerBusy) as refused:
        read(second, 130_000)
    assert refused.value.code == "BODIES_FULL"
    assert refused.value.retry_after_s
    second.release()
    assert memory.held == 130_000


def test_a_body_that_pauses_holds_one_block_and_gives_it_back_however_it_ends() -> None:
    memory = BodyBudget(1_000_000, 10)

    def arrive() -> None:
        with memory.share().block(1 << 20):
            assert memory.held == BLOCK_BYTES
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        arrive()
    assert memory.held == 0


def test_a_short_body_sets_little_aside() -> None:
    memory = BodyBudget(1_000, 10)
    with memory.share().block(900) as size:
        assert size == 900
        assert memory.held == 900


def test_only_so_many_arrive_at_once() -> None:
    memory = BodyBudget(1_000_000, 2)
    with memory.share().arriving():
        with memory.share().arriving():
            with pytest.raises(WorkerBusy), memory.share().arriving():
                pytest.fail("a third one was let in")
            assert memory.arriving == 2
        with memory.share().arriving():
            assert memory.arriving == 2
    assert repr(memory) == "<BodyBudget held=0/1000000 arriving=0>"
