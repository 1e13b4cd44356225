"""Processes of one turn with the real binary: starts that nobody waits for, their number, and one login for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from codex_cli_bin import bundled_codex_path

from app.backend.admission import Admission
from app.backend.engine import Engine
from app.backend.protocols import Turn
from app.backends.per_request.app_server_dialect import AppServerDialect
from app.backends.per_request.backend import PerRequestBackend
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.errors import Draining, UpstreamAuth, WorkerBusy, WorkerUnavailable
from app.process.child import ChildSpec
from scripted_upstream.client import Control
from tests.fakes import single_turns
from tests.fakes.accounts import Accounts, AccountsLauncher
from tests.fakes.engines import HELLO, LIMITS, say
from tests.fakes.single_turns import answer_to, await_nobody
from tests.fakes.waiting import (
    DEADLINE_S,
    deadline,
    eventually,
    in_background,
    is_known,
    outcome,
    result,
)

RECENT = "2026-11-27T00:00:00Z"

Run = Callable[..., PerRequestBackend]


@pytest.fixture
def launcher(upstream_url: str, home: Home) -> Launcher:
    upstream = Upstream(UpstreamKind.CONFIGURED, upstream_url, has_key=True)
    return Launcher(home, bundled_codex_path(), upstream, "sk-upstream-canary", 300_000)


@pytest.fixture
def of_accounts(accounts: Accounts, home: Home) -> Launcher:
    upstream = Upstream(UpstreamKind.OPENAI, f"{accounts.url}/v1")
    launcher = AccountsLauncher(home, bundled_codex_path(), upstream, "", 300_000)
    launcher.accounts_url = accounts.url
    return launcher


def begin(backend: PerRequestBackend, text: str, within_s: float = DEADLINE_S) -> Turn:
    return single_turns.begin(backend, say(text), within_s=within_s)


def answer(backend: PerRequestBackend, text: str = "hello") -> str:
    return answer_to(backend, say(text))


def test_a_turn_s_process_is_gone_with_it(
    run: Run, launcher: Launcher, control: Control, marker: str
) -> None:
    control.script(marker, HELLO)
    backend = run(launcher)
    assert backend.wait_ready(DEADLINE_S)
    await_nobody(backend)
    with deadline():
        turn = begin(backend, marker)
    (pid,) = backend.health().pids
    folder = launcher.home.turns
    assert len(list(folder.glob("*/[0-9]*/state_*.sqlite"))) == 1
    turn.close()
    await_nobody(backend)
    assert not is_known(pid)
    assert list(folder.glob("*/[0-9]*")) == []


def test_a_start_that_nobody_waits_for_is_for_the_next(run: Run, launcher: Launcher) -> None:
    backend = run(launcher, spare=1)
    assert backend.wait_ready(DEADLINE_S)
    eventually(lambda: backend.health().spare == 1)
    starting = gevent.spawn(outcome, backend.pool.start_within, time.monotonic() + DEADLINE_S)
    eventually(lambda: len(backend.health().pids) == 2)
    taken = backend.pool.take_spare()
    assert taken is not None
    starting.kill()
    eventually(lambda: backend.health().spare == 1)
    backend.pool.end(taken)


def test_there_are_no_more_than_may_be_and_who_waits_too_long_is_told(
    run: Run, launcher: Launcher, control: Control, marker: str
) -> None:
    control.script(marker, {**HELLO, "hold": "deltas"})
    backend = run(launcher, most=1)
    assert backend.wait_ready(DEADLINE_S)
    await_nobody(backend)
    with deadline():
        turns = [begin(backend, marker), begin(backend, marker)]  # one is the backend's own
        with pytest.raises(WorkerBusy):
            begin(backend, marker, within_s=0.1)
    assert len(backend.health().pids) == 2
    turns[0].close()
    with deadline():
        turns.append(begin(backend, marker))
    for turn in turns:
        turn.close()
    control.release(marker)


def test_a_start_that_takes_too_long_is_no_matter_of_load(run: Run, launcher: Launcher) -> None:
    """No process shakes hands within a thousandth of a second."""
    backend = run(launcher)
    assert backend.wait_ready(DEADLINE_S)
    await_nobody(backend)
    with deadline(), pytest.raises(WorkerUnavailable):
        begin(backend, "hello", within_s=0.001)


def test_a_draining_backend_begins_no_more(run: Run, launcher: Launcher) -> None:
    backend = run(launcher)
    assert backend.wait_ready(DEADLINE_S)
    backend.begin_drain()
    assert backend.health().reason == "draining"
    backend.end_turns(Draining("over"))
    with deadline(DEADLINE_S / 2), pytest.raises(Draining):
        begin(backend, "x", within_s=2 * DEADLINE_S)


# The login


def test_a_login_that_is_due_is_renewed_once_for_many(
    run: Run, of_accounts: Launcher, accounts: Accounts, home: Home
) -> None:
    accounts.write_login(home.auth_file, RECENT, good_for_s=200)
    backend = run(of_accounts, most=3)
    running = [in_background(answer, backend) for _ in range(3)]
    assert all(isinstance(result(one), str) for one in running)
    assert accounts.renewals == [("refresh-0", True)]
    assert set(accounts.turns) == {"access-1"}
    assert not home.auth_file.is_symlink()


def test_a_login_that_is_soon_due_is_renewed_without_a_turn(
    run: Run, of_accounts: Launcher, accounts: Accounts, home: Home
) -> None:
    accounts.write_login(home.auth_file, RECENT, good_for_s=500)
    backend = run(of_accounts)
    assert backend.wait_ready(DEADLINE_S)
    eventually(lambda: accounts.renewals == [("refresh-0", True)])
    await_nobody(backend)
    answer(backend)
    assert accounts.turns == ["access-1"]


def test_a_login_that_is_spent_is_not_tried_again_until_there_is_another(
    run: Run, of_accounts: Launcher, accounts: Accounts, home: Home
) -> None:
    accounts.failure = 401
    accounts.write_login(home.auth_file, RECENT, good_for_s=200)
    backend = run(of_accounts, spare=1, limits=replace(LIMITS, probe_interval_ms=10))
    eventually(lambda: backend.login.is_at_its_end)
    await_nobody(backend)
    assert backend.health().reason == "upstream_auth"
    tried, started = list(accounts.renewals), backend.pool.last_start
    with pytest.raises(UpstreamAuth, match="codex login"):
        Engine(backend, Admission(1, 1), DEADLINE_S).admit()
    with pytest.raises(UpstreamAuth):
        begin(backend, "x")  # one that had been admitted before
    gevent.sleep(0.5)  # long enough for many a probe
    assert (accounts.renewals, backend.pool.last_start) == (tried, started)
    assert len(tried) <= 2  # in its start, and when it was asked whether that was for good
    accounts.failure = None
    accounts.write_login(home.auth_file, RECENT)
    answer(backend)
    assert accounts.turns == ["access-0"]


def test_a_login_that_is_spent_serves_until_it_is_due(
    run: Run, of_accounts: Launcher, accounts: Accounts, home: Home
) -> None:
    accounts.failure = 401
    accounts.write_login(home.auth_file, RECENT, good_for_s=500)
    backend = run(of_accounts)
    eventually(lambda: backend.login.is_spent)
    for _ in range(2):
        answer(backend)
    assert accounts.turns == ["access-0"] * 2
    assert len(accounts.renewals) == 1


def test_those_that_wait_for_a_renewal_do_not_try_it_one_after_another(
    run: Run, of_accounts: Launcher, accounts: Accounts, home: Home
) -> None:
    accounts.write_login(home.auth_file, RECENT)
    backend = run(of_accounts, most=4)
    assert backend.wait_ready(DEADLINE_S)
    await_nobody(backend)
    accounts.failure = 401
    accounts.write_login(home.auth_file, RECENT, good_for_s=200)
    asking = [in_background(begin, backend, "x") for _ in range(4)]
    told = [result(one) for one in asking]
    for turn in told:
        if not isinstance(turn, UpstreamAuth):
            turn.close()  # whose start has found it out
    assert [type(one) for one in told].count(UpstreamAuth) >= 3
    assert len(accounts.renewals) <= 2  # one may be the backend's own


def test_who_leaves_during_a_renewal_does_not_break_it_off(
    run: Run, of_accounts: Launcher, accounts: Accounts, home: Home
) -> None:
    accounts.write_login(home.auth_file, RECENT)
    backend = run(of_accounts)
    assert backend.wait_ready(DEADLINE_S)
    await_nobody(backend)
    accounts.may_renew.clear()
    accounts.write_login(home.auth_file, RECENT, good_for_s=200)
    leaving = gevent.spawn(outcome, begin, backend, "x")
    eventually(lambda: len(accounts.renewals) == 1)
    assert backend.is_renewing_login()
    leaving.kill()
    accounts.may_renew.set()
    eventually(lambda: not backend.is_renewing_login())
    answer(backend)
    assert accounts.turns == ["access-1"]
    assert len(accounts.renewals) == 1


def test_a_spare_process_with_another_login_gets_no_turn(
    run: Run, of_accounts: Launcher, accounts: Accounts, home: Home
) -> None:
    accounts.write_login(home.auth_file, RECENT)
    backend = run(of_accounts, spare=1)
    eventually(lambda: backend.health().spare == 1)
    before = set(backend.health().pids)
    accounts.write_login(home.auth_file, RECENT, good_for_s=7000)
    answer(backend)
    eventually(lambda: backend.health().spare == 1 and not before & set(backend.health().pids))


def test_without_a_login_nothing_is_asked(
    run: Run, of_accounts: Launcher, accounts: Accounts
) -> None:
    backend = run(of_accounts, spare=1)
    assert backend.wait_ready(DEADLINE_S)
    assert backend.health().reason == "upstream_auth"
    engine = Engine(backend, Admission(1, 1), DEADLINE_S)
    with pytest.raises(UpstreamAuth):
        engine.admit()
    with pytest.raises(UpstreamAuth):
        begin(backend, "x")
    assert accounts.turns == []


class OnceUnforeseen(AppServerDialect):
    """Fails in the second start, in a way that nobody has thought of."""

    starts = 0

    def apart(self, spec: ChildSpec, folder: Path) -> ChildSpec:
        self.starts += 1
        if self.starts == 2:
            raise LookupError("nobody has thought of this")
        return super().apart(spec, folder)


def test_an_unforeseen_failure_in_a_start_ahead_of_demand_is_survived(
    run: Run, launcher: Launcher
) -> None:
    backend = run(launcher, spare=1, speak=OnceUnforeseen)
    eventually(lambda: backend.health().spare == 1)
    last = backend.health().last_exit
    assert last is not None
    assert last.detail is not None
    assert "nobody has thought of this" in last.detail
