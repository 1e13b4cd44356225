"""Two real children that share one ChatGPT login, as they do during a reload and while one replaces another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from codex_cli_bin import bundled_codex_path

from app.answers.turn_errors import to_error
from app.backend.events import TurnEnded
from app.backend.lease import Lease
from app.backends.app_server.connection import Connection
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.errors import UpstreamAuth
from app.process.child import Child, StopLadder
from tests.fakes.accounts import Accounts
from tests.fakes.engines import follow, say
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, in_background, result

RECENT = "2026-11-27T00:00:00Z"
LADDER = StopLadder(DEADLINE_S, DEADLINE_S, DEADLINE_S)

Start = Callable[[], Connection]


@pytest.fixture
def accounts() -> Iterator[Accounts]:
    with Accounts() as accounts:
        yield accounts
        accounts.shutdown()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
def start(accounts: Accounts, home: Home) -> Iterator[Start]:
    started: list[tuple[Child, Connection]] = []

    def start() -> Connection:
        upstream = Upstream(UpstreamKind.OPENAI, f"{accounts.url}/v1")
        spec = Launcher(home, bundled_codex_path(), upstream, "", 300_000).prepare()
        # Where it renews, and what else it might ask: nothing may leave this machine.
        renewal = {"CODEX_REFRESH_TOKEN_URL_OVERRIDE": f"{accounts.url}/oauth/token"}
        elsewhere = ("-c", f'chatgpt_base_url="{accounts.url}/backend-api/"')
        child = Child(replace(spec, env=spec.env | renewal, argv=(*spec.argv, *elsewhere)))
        generation = Connection(
            len(started), child, rpc_timeout_s=DEADLINE_S, on_lost=lambda _: None
        )
        started.append((child, generation))
        with deadline():
            generation.shake_hands("0", DEADLINE_S, lambda: None)
        return generation

    yield start
    for child, generation in started:
        with deadline():
            child.stop(LADDER)
            generation.detach()
            child.close()


def run(generation: Connection) -> TurnEnded:
    with deadline():
        turn = generation.threads.begin(say("hello"), Lease())
    try:
        events = follow(turn)
    finally:
        turn.close()
    (ended,) = [event for event in events if isinstance(event, TurnEnded)]
    return ended


def is_whole(ended: TurnEnded) -> bool:
    return ended.failure is None


def test_who_is_refused_takes_what_the_other_has_renewed(
    accounts: Accounts, home: Home, start: Start
) -> None:
    accounts.write_login(home.auth_file, RECENT)
    first, second = start(), start()
    accounts.refused = {"access-0"}
    assert is_whole(run(first))
    assert is_whole(run(second))
    assert accounts.renewals == [("refresh-0", True)]
    assert accounts.turns[-1] == "access-1"


def test_two_that_renew_at_the_same_moment_cost_one_turn_and_not_the_login(
    accounts: Accounts, home: Home, start: Start
) -> None:
    accounts.write_login(home.auth_file, RECENT)
    first, second = start(), start()
    accounts.refused = {"access-0"}
    accounts.may_renew.clear()
    running = [in_background(run, generation) for generation in (first, second)]
    eventually(lambda: len(accounts.renewals) == 2)
    accounts.may_renew.set()
    ended = [result(one) for one in running]
    assert sorted(map(is_whole, ended)) == [False, True]
    (failed,) = [one for one in ended if not is_whole(one)]
    assert failed.failure is not None
    assert isinstance(to_error(failed.failure), UpstreamAuth), failed.failure
    assert sorted(good for _, good in accounts.renewals) == [False, True]
    gevent.sleep(0)
    assert is_whole(run(first))
    assert is_whole(run(second))
    assert len(accounts.renewals) == 2


ABOUT_THE_ACCOUNT = {
    "GET /backend-api/wham/accounts/check",
    "GET /backend-api/wham/settings/user",
    "GET /v1/models",
}


def test_beside_turns_a_child_asks_about_the_account_and_nothing_else(
    accounts: Accounts, home: Home, start: Start
) -> None:
    """No plugins, no analytics, no tasks: what a version of codex adds to these has to be looked at."""
    accounts.write_login(home.auth_file, RECENT)
    assert is_whole(run(start()))
    assert {line.partition("?")[0] for line in accounts.others} <= ABOUT_THE_ACCOUNT
