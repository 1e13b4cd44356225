"""What is planned follows from the seed alone, and misses nothing."""

from __future__ import annotations

import json
from itertools import islice, pairwise

import pytest

from tests.chaos.faults import DISRUPTIVE, HAPPENS
from tests.chaos.load import WRONG, bytes_of, script_of
from tests.chaos.plan import FAULTS, WORKER_KILL, Weather, planned_faults, planned_requests
from tests.chaos.request_kinds import KINDS, MISTAKES, Asked, Expects

WEATHER = Weather(seconds=60)


def requests(seed: int, count: int = 500) -> list[Asked]:
    return list(islice(planned_requests(seed, WEATHER), count))


def test_the_same_seed_is_the_same_storm() -> None:
    assert requests(7) == requests(7)
    assert planned_faults(7, WEATHER) == planned_faults(7, WEATHER)


def test_another_seed_is_another_storm() -> None:
    assert requests(7) != requests(8)
    assert planned_faults(7, WEATHER) != planned_faults(8, WEATHER)


def test_a_longer_storm_begins_like_a_shorter_one() -> None:
    longer = planned_faults(7, Weather(seconds=120))
    assert longer[:5] == planned_faults(7, WEATHER)[:5]


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_of_request_comes_early_and_no_number_twice(seed: int) -> None:
    made = requests(seed)
    assert [asked.number for asked in made] == [*range(500)]
    assert [asked.at_s for asked in made] == sorted(asked.at_s for asked in made)
    early = {asked.kind.split(":")[0].split(" head")[0].split(" body")[0] for asked in made[:80]}
    assert early == {*KINDS}


@pytest.mark.parametrize("seed", range(5))
def test_every_fault_comes_once_before_any_comes_twice(seed: int) -> None:
    faults = planned_faults(seed, Weather(seconds=60, kills_workers=True))
    kinds = {*FAULTS, WORKER_KILL}
    assert {fault.kind for fault in faults[: len(kinds)]} == kinds
    assert all(a.at_s < b.at_s < 60 for a, b in pairwise(faults))
    for fault in faults:
        least, greatest = FAULTS.get(fault.kind, (0.0, 0.0))
        assert least <= fault.size <= greatest


def test_workers_are_killed_only_where_that_is_asked_for() -> None:
    assert WORKER_KILL not in {fault.kind for fault in planned_faults(7, Weather(seconds=600))}


def test_every_planned_fault_can_happen() -> None:
    assert {*HAPPENS} == {*FAULTS, WORKER_KILL} >= DISRUPTIVE


def test_every_mistake_can_be_sent() -> None:
    assert {*WRONG} == {f"refused: {mistake}" for mistake in MISTAKES}


def test_every_request_names_itself_where_it_can() -> None:
    for asked in requests(7):
        sent = bytes_of(asked)
        assert (asked.id.encode() in sent) == (asked.kind != "refused: no HTTP")
        if asked.expects is not Expects.STATUS:
            assert asked.marker.encode() in sent
            assert json.dumps(script_of(asked))


def test_texts_are_told_apart() -> None:
    texts = [asked.text for asked in requests(7) if asked.deltas]
    assert len(texts) == len({*texts})
