from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.process.lifecycle import BackoffPolicy
from tests.fakes.supervised_process import FAST, Make, SupervisedProcess


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[SupervisedProcess] = []

    def make(policy: BackoffPolicy = FAST) -> SupervisedProcess:
        made.append(SupervisedProcess(tmp_path, policy))
        return made[-1]

    yield make
    for supervised in made:
        supervised.end()


@pytest.fixture
def supervised(make: Make) -> SupervisedProcess:
    return make()
