"""Fixtures: a CODEX_HOME, accounts, and backends that run in it, of whose processes none may be left at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from app.backends.app_server.limits import Limits
from app.backends.per_request.app_server_dialect import AppServerDialect
from app.backends.per_request.backend import PerRequestBackend
from app.backends.per_request.dialect import Dialect
from app.codex.home import Home
from app.codex.launch import Launcher
from tests.fakes.accounts import Accounts
from tests.fakes.engines import LIMITS
from tests.fakes.waiting import deadline, in_background, is_known, result

RARELY_PROBED = replace(LIMITS, probe_interval_ms=2_000)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
def accounts() -> Iterator[Accounts]:
    with Accounts() as accounts:
        yield accounts
        accounts.shutdown()


@pytest.fixture
def run(home: Home) -> Iterator[Callable[..., PerRequestBackend]]:
    started: list[tuple[PerRequestBackend, gevent.Greenlet[..., Any]]] = []

    def run(
        launcher: Launcher,
        *,
        most: int = 2,
        spare: int = 0,
        limits: Limits = RARELY_PROBED,
        speak: Callable[..., Dialect] = AppServerDialect,
    ) -> PerRequestBackend:
        backend = PerRequestBackend(launcher, limits, "0.0.0", most=most, spare=spare, speak=speak)
        started.append((backend, in_background(backend.run)))
        return backend

    yield run
    for backend, running in started:
        pids = backend.health().pids
        with deadline():
            backend.stop()
        assert result(running) is None
        assert backend.health().pids == ()
        assert not any(map(is_known, pids))
    assert list(home.turns.glob("*")) == []
