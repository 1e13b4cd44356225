import pytest

from app.answers.call_ids import CallIds, stand_in


@pytest.mark.parametrize("call_id", ["c", "call_0", "x" * 64, "ä" * 64])
def test_an_id_that_the_upstream_takes_is_left_alone(call_id: str) -> None:
    assert CallIds().next(call_id) == call_id


@pytest.mark.parametrize("call_id", ["", "x" * 65, "ä" * 2000, "\ud800" * 65])
def test_any_other_has_a_stand_in_that_does_not_change(call_id: str) -> None:
    first, again = CallIds().next(call_id), CallIds().next(call_id)
    assert first == again
    assert 1 <= len(first) <= 64
    assert first.isascii()


def test_every_use_of_an_id_has_one_of_its_own() -> None:
    ids = CallIds()
    given = [ids.next(call_id) for call_id in ("a", "b", "a", "a", "", "", "b")]
    assert len(set(given)) == len(given)
    assert given[:2] == ["a", "b"]


def test_a_longer_conversation_begins_with_the_same_ids() -> None:
    shorter, longer = CallIds(), CallIds()
    assert [shorter.next("a") for _ in range(3)] == [longer.next("a") for _ in range(9)][:3]


def test_a_stand_in_depends_on_all_that_tells_calls_apart() -> None:
    names = {stand_in("a", 1), stand_in("a", 2), stand_in("a1"), stand_in("", "a", 1), stand_in()}
    assert len(names) == 5
