"""What a refused client is told to wait, from tables."""

from __future__ import annotations

import pytest

from app.backend.retry_after import ReleaseRate, clamped_s, seconds_until

NOW = 1000.0

WAITS = [
    # Wanted since, freed how long ago, how many ahead, seconds.
    ("nothing is known yet", 0, [], 5, 1),
    ("none was freed: as long again", 8, [], 1, 8),
    ("none was freed, several are ahead", 8, [], 3, 24),
    ("one in two seconds", 10, [9, 7, 5, 3, 1], 4, 8),
    ("rounded up", 10, [8, 3, 1], 1, 4),
    ("many in a second", 10, [1, 2, 3, 4, 5, 6, 7, 8, 9] * 4, 4, 2),
    ("at least one second", 10, [0.1] * 50, 1, 1),
    ("at most a minute", 50, [40], 9, 60),
    ("what is long ago does not count", 600, [300, 200, 100, 20, 10], 1, 30),
    ("a minute of standstill", 600, [300, 200, 100], 1, 60),
    ("more than is remembered", 60, [n / 10 for n in range(300, 0, -1)], 100, 11),
]


@pytest.mark.parametrize(
    ("since", "freed", "ahead", "seconds"), [w[1:] for w in WAITS], ids=[w[0] for w in WAITS]
)
def test_the_wait_follows_the_rate(
    since: float, freed: list[float], ahead: int, seconds: int
) -> None:
    slots = ReleaseRate()
    slots.start(NOW - since)
    for ago in sorted(freed, reverse=True):
        slots.record(NOW - ago)
    assert slots.wait_s(ahead, NOW) == seconds


def is_wanted(slots: ReleaseRate) -> bool:
    """Asked through a function, as mypy takes a property for constant between two asserts."""
    return slots.is_wanted


def test_the_count_begins_with_the_first_who_waits_and_ends_when_there_is_plenty() -> None:
    slots = ReleaseRate()
    assert not is_wanted(slots)
    assert slots.wait_s(1, NOW) == 1
    slots.start(NOW)
    slots.start(NOW + 5)
    assert is_wanted(slots)
    assert slots.wait_s(1, NOW + 10) == 10
    slots.record(NOW + 10)
    slots.reset()
    assert not is_wanted(slots)
    slots.start(NOW + 20)
    assert slots.wait_s(1, NOW + 23) == 3


@pytest.mark.parametrize(
    ("seconds", "whole"), [(-1, 1), (0, 1), (0.2, 1), (1, 1), (1.01, 2), (59.5, 60), (3600, 60)]
)
def test_the_header_has_whole_seconds(seconds: float, whole: int) -> None:
    assert clamped_s(seconds) == whole


@pytest.mark.parametrize(("moment", "seconds"), [(None, 1), (NOW - 3, 1), (NOW + 4.2, 5)])
def test_a_moment_is_as_far_as_it_is(moment: float | None, seconds: int) -> None:
    assert seconds_until(moment, NOW) == seconds
