"""Connections with scripted children, ended with their test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.waiting import DEADLINE_S
from tests.integration.backends.app_server.stage import Make, Stage


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    stages: list[Stage] = []

    def make(
        on: dict[str, Any] | None = None,
        *,
        rpc_timeout_s: float = DEADLINE_S,
        parked_s: float = DEADLINE_S,
    ) -> Stage:
        stages.append(Stage(tmp_path, on or {}, rpc_timeout_s, parked_s))
        return stages[-1]

    yield make
    for stage in stages:
        stage.end()
