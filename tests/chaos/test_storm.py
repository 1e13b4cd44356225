"""Storms: a seeded mix of load and faults over the real gateway, and what must hold all the same.

`CHAOS_SEED` chooses the storm and `CHAOS_SECONDS` its length; the seed stands in the title of the table.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.ledger import Ledger
from tests.chaos.plan import Weather
from tests.chaos.storm import Storm
from tests.e2e.harness import Upstream

SEED = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
SECONDS = float(os.environ.get("CHAOS_SECONDS") or 180)
SHORT_SEED = int(os.environ.get("CHAOS_SEED") or 1)

Brew = Callable[[int, Weather], Storm]


@pytest.fixture
def brew(tmp_path: Path, upstream: Upstream) -> Iterator[Brew]:
    """Storms that end with the test."""
    brewed: list[Storm] = []

    def make(seed: int, weather: Weather) -> Storm:
        brewed.append(Storm(seed, weather, tmp_path, upstream))
        return brewed[-1]

    yield make
    for storm in brewed:
        storm.close()


def weather_out(storm: Storm) -> Ledger:
    storm.break_out()
    storm.calm_down()
    return storm.ledger()


@pytest.mark.timeout(180)
def test_a_short_storm(brew: Brew, settle: Callable[[Ledger], None]) -> None:
    settle(weather_out(brew(SHORT_SEED, Weather(seconds=13, rate=7, apart_s=1.1))))


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_long_storm(brew: Brew, settle: Callable[[Ledger], None]) -> None:
    settle(weather_out(brew(SEED, Weather(seconds=SECONDS))))


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_storm_that_kills_workers(brew: Brew, settle: Callable[[Ledger], None]) -> None:
    settle(weather_out(brew(SEED, Weather(seconds=SECONDS / 2, kills_workers=True))))
