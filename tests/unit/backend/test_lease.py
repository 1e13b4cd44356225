from itertools import permutations

import pytest

from app.backend.admission import Slot
from app.backend.lease import Lease


class Counted:
    def __init__(self) -> None:
        self.released = 0
        self.lease = Lease(Slot(self._release))

    def _release(self) -> None:
        self.released += 1


@pytest.mark.parametrize(
    "steps", [*permutations(["turn_finished", "commit", "turn_finished", "commit"])]
)
def test_a_slot_goes_back_once_both_have_happened(steps: tuple[str, ...]) -> None:
    counted, happened = Counted(), set()
    for step in steps:
        getattr(counted.lease, step)()
        happened.add(step)
        assert counted.released == (len(happened) == 2)


@pytest.mark.parametrize("before", [[], ["turn_finished"], ["commit"]])
def test_a_slot_that_was_handed_on_is_not_given_back(before: list[str]) -> None:
    counted = Counted()
    for step in before:
        getattr(counted.lease, step)()
    slot = counted.lease.transfer()
    assert slot is not None
    counted.lease.turn_finished()
    counted.lease.commit()
    assert counted.released == 0
    slot.release()
    assert counted.released == 1
    assert counted.lease.transfer() is None


def test_what_was_given_back_cannot_be_handed_on() -> None:
    counted = Counted()
    counted.lease.turn_finished()
    counted.lease.commit()
    assert counted.lease.transfer() is None


def test_a_lease_of_nothing_does_nothing() -> None:
    lease = Lease()
    lease.turn_finished()
    lease.commit()
    assert lease.transfer() is None
