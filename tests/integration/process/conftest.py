from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.process.lifecycle import BackoffPolicy
from tests.fakes.wards import FAST, Make, Ward


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Ward] = []

    def make(policy: BackoffPolicy = FAST) -> Ward:
        made.append(Ward(tmp_path, policy))
        return made[-1]

    yield make
    for ward in made:
        ward.end()


@pytest.fixture
def ward(make: Make) -> Ward:
    return make()
