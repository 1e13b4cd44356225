"""`codex proto` for each turn, as far as a stand-in can show it: lines, ends, bounds, what is left behind.

Its words are those of 0.42; that the real one speaks them is tested by `tests/e2e/test_proto.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from codex_cli_bin import bundled_codex_path

from app.answers.turn_errors import end_cause
from app.backend.events import TurnEnded, UsageUpdated
from app.backend.lease import Lease
from app.backend.observer import NULL_OBSERVER, TurnState
from app.backend.protocols import Pace
from app.backend.request import TurnRequest
from app.backends.per_request.backend import PerRequestBackend
from app.backends.per_request.proto.dialect import ProtoDialect
from app.backends.per_request.proto.login import PinnedRenewal
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.errors import (
    Draining,
    InvalidRequest,
    UpstreamAuth,
    UpstreamError,
    WorkerBusy,
    WorkerLost,
    WorkerTimeout,
    WorkerUnavailable,
)
from app.process.child import ChildSpec
from app.rpc.errors import RpcError
from tests.e2e.older_codex import older_codex
from tests.fakes.accounts import Accounts, AccountsLauncher, name_of
from tests.fakes.engines import LIMITS, PATIENT, texts
from tests.fakes.proto_codex import write_proto_codex
from tests.fakes.single_turns import answer_to, await_nobody, begin
from tests.fakes.waiting import (
    DEADLINE_S,
    deadline,
    eventually,
    in_background,
    is_known,
    outcome,
    result,
)

Run = Callable[..., PerRequestBackend]
RECENT = "2026-11-27T00:00:00Z"
LIMITED = replace(LIMITS, probe_interval_ms=2_000, startup_timeout_ms=1_000)
SHORT = Pace(first_s=0.2, total_s=DEADLINE_S, commit_s=0.1, tick_s=0.1)


@pytest.fixture
def run_proto(home: Home, tmp_path: Path, run: Run) -> Run:
    def run_proto(
        *,
        binary: Path | None = None,
        kind: UpstreamKind = UpstreamKind.CONFIGURED,
        words: tuple[str, ...] = (),
        **more: int,
    ) -> PerRequestBackend:
        binary = binary or write_proto_codex(tmp_path / "codex")
        upstream = Upstream(kind, "http://127.0.0.1:9/v1")
        launcher = Launcher(home, binary, upstream, "", 300_000, model_words=words)
        return run(launcher, limits=LIMITED, speak=ProtoDialect, **more)

    return run_proto


def say(*texts: str, **more: Any) -> TurnRequest:
    items = tuple(
        {"role": "user", "content": [{"type": "input_text", "text": text}]} for text in texts
    )
    return TurnRequest("gpt-5", items, **more)


def answer(backend: PerRequestBackend, *said: str, pace: Pace = PATIENT) -> str:
    return answer_to(backend, say(*said), pace)


def test_a_turn_is_a_process_and_nothing_is_left_of_it(run_proto: Run, home: Home) -> None:
    backend = run_proto()
    assert backend.wait_ready(DEADLINE_S)
    await_nobody(backend)
    with deadline():
        turn = begin(backend, say("first", "Grüße ✓"))
        (pid,) = backend.health().pids
        events = [event for batch in turn.follow(PATIENT) for event in batch]
    assert "".join(texts(events)) == "Grüße ✓"
    assert [event.usage.total for event in events if isinstance(event, UsageUpdated)] == [2]
    assert isinstance(events[-1], TurnEnded)
    assert turn.facts.state is TurnState.COMPLETED
    turn.close()
    await_nobody(backend)
    assert not is_known(pid)
    assert list(home.turns.glob("*/[0-9]*")) == []
    assert not (home.root / "sessions").exists()
    health = backend.health()
    assert (health.ready, health.codex_version, health.counters) == (True, "0.42.0", {})


def test_its_processes_can_start_none(run_proto: Run) -> None:
    assert answer(run_proto(), "fork") == "PermissionError"


def test_it_has_a_login_only_where_that_is_used(run_proto: Run, home: Home) -> None:
    home.auth_file.write_text('{"OPENAI_API_KEY":"sk-canary"}')
    assert json.loads(answer(run_proto(kind=UpstreamKind.OPENAI), "login")) == {
        "OPENAI_API_KEY": "sk-canary"
    }
    assert answer(run_proto(), "login") == ""


@pytest.fixture
def run_of_accounts(run: Run, home: Home, accounts: Accounts) -> Run:
    """A backend with a ChatGPT login."""

    def run_of_accounts(binary: Path, good_for_s: int) -> PerRequestBackend:
        accounts.write_login(home.auth_file, RECENT, good_for_s=good_for_s)
        upstream = Upstream(UpstreamKind.OPENAI, f"{accounts.url}/v1")
        launcher = AccountsLauncher(home, binary, upstream, "", 300_000)
        launcher.accounts_url = accounts.url
        backend = run(launcher, limits=LIMITED, most=3, speak=ProtoDialect)
        assert backend.wait_ready(DEADLINE_S)
        return backend

    return run_of_accounts


@pytest.mark.parametrize("good_for_s", [200, 500], ids=["due", "soon due"])
def test_the_pinned_codex_renews_the_login_once_and_no_process_can(
    run_of_accounts: Run, home: Home, accounts: Accounts, tmp_path: Path, good_for_s: int
) -> None:
    binary = write_proto_codex(tmp_path / "codex")
    backend = run_of_accounts(binary, good_for_s)
    eventually(lambda: accounts.renewals == [("refresh-0", True)])
    eventually(lambda: not backend.is_renewing_login())
    asking = [in_background(answer, backend, "login") for _ in range(3)]
    found = [json.loads(result(one))["tokens"] for one in asking]
    assert {name_of(f"Bearer {tokens['access_token']}") for tokens in found} == {"access-1"}
    assert {tokens["refresh_token"] for tokens in found} == {""}
    stored = json.loads(home.auth_file.read_text())["tokens"]
    assert stored["refresh_token"] == "refresh-1"
    assert len(accounts.renewals) == 1


class Unprepared(Launcher):
    """One whose codex cannot print its catalog."""

    def prepare(self) -> ChildSpec:
        raise ValueError("codex printed no catalog")


def test_a_renewal_that_cannot_even_start_is_an_error_that_callers_know(home: Home) -> None:
    launcher = Unprepared(home, Path("/nowhere"), Upstream(UpstreamKind.OPENAI, ""), "", 300_000)
    renewal = PinnedRenewal(launcher, "0.0.0")
    with pytest.raises(RpcError, match="no catalog"):
        renewal.renew()
    with pytest.raises(OSError, match="no catalog"):
        renewal.renew_due()


@pytest.mark.system
def test_the_real_one_asks_with_the_login_that_it_is_lent(
    run_of_accounts: Run,
    home: Home,
    accounts: Accounts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    binary = older_codex()  # which may have to be downloaded
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # what it might ask outside fails
    backend = run_of_accounts(binary, 3600)
    before = home.auth_file.read_bytes()
    assert answer(backend, "x") == "Hi"
    assert accounts.turns == ["access-0"]
    accounts.refused.add("access-0")
    with deadline():
        turn = begin(backend, say("x"))
        *_, ended = [event for batch in turn.follow(PATIENT) for event in batch]
        turn.close()
    assert isinstance(ended, TurnEnded)
    with pytest.raises(UpstreamAuth):
        end_cause(ended)
    await_nobody(backend)
    assert home.auth_file.read_bytes() == before
    assert accounts.renewals == []


def test_what_is_refused_takes_no_process(run_proto: Run) -> None:
    backend = run_proto()
    assert backend.wait_ready(DEADLINE_S)
    await_nobody(backend)
    with pytest.raises(InvalidRequest):
        begin(backend, say("x", tools=({"name": "f"},)))
    assert backend.health().pids == ()


def test_a_failure_is_told_and_one_who_dies_is_lost(run_proto: Run) -> None:
    backend = run_proto()
    with deadline():
        turn = begin(backend, say("fail"))
        (ended,) = [event for batch in turn.follow(PATIENT) for event in batch]
    assert isinstance(ended, TurnEnded)
    assert ended.failure is not None
    assert ended.failure.http_status == 429
    turn.close()
    with pytest.raises(WorkerLost):
        answer(backend, "die")
    with pytest.raises(UpstreamError):
        answer(backend, "nonsense")
    assert answer(backend, "on") == "on"
    assert backend.health().ready


def test_who_is_silent_is_ended_at_its_deadline_and_when_its_client_leaves(run_proto: Run) -> None:
    backend = run_proto(most=1)
    with pytest.raises(WorkerTimeout):
        answer(backend, "silence", pace=SHORT)
    await_nobody(backend)
    lease = Lease()
    with deadline():
        turn = begin(backend, say("silence"), lease)
        turn.close()
    await_nobody(backend)
    assert answer(backend, "on") == "on"


def test_a_drain_ends_what_runs(run_proto: Run) -> None:
    backend = run_proto()
    with deadline():
        turn = begin(backend, say("silence"))
    following = gevent.spawn(outcome, lambda: list(turn.follow(PATIENT)))
    backend.end_turns(Draining("over"))
    assert isinstance(result(following), Draining)
    turn.close()
    await_nobody(backend)


def test_no_more_than_the_pool_has_room_for(run_proto: Run) -> None:
    backend = run_proto(most=1)
    with deadline():
        turns = [begin(backend, say("silence")) for _ in range(2)]  # and one for the pool itself
        with pytest.raises(WorkerBusy):
            backend.open(say("x"), Lease(), time.monotonic() + 0.2, NULL_OBSERVER)
        for turn in turns:
            turn.close()
    await_nobody(backend)


def test_a_crowd_before_a_codex_that_hangs_is_not_told_that_it_is_one(
    run_proto: Run, tmp_path: Path
) -> None:
    path = tmp_path / "codex"
    backend = run_proto(binary=write_proto_codex(path))
    assert backend.wait_ready(DEADLINE_S)
    await_nobody(backend)
    write_proto_codex(path, habit="hangs")
    starts = max(2, os.cpu_count() or 1)  # at once; those behind them do not begin theirs
    until = time.monotonic() + 0.3
    asking = [
        in_background(backend.open, say("x"), Lease(), until, NULL_OBSERVER)
        for _ in range(2 * starts)
    ]
    assert [type(result(one)) for one in asking] == [WorkerUnavailable] * len(asking)
    await_nobody(backend)


def test_one_ahead_of_demand_is_used(run_proto: Run) -> None:
    backend = run_proto(spare=1)
    eventually(lambda: backend.health().spare == 1)
    (ahead,) = backend.health().pids
    with deadline():
        turn = begin(backend, say("silence"))
    assert ahead in backend.health().pids
    turn.close()


def test_who_does_not_exit_when_told_is_made_to(run_proto: Run, tmp_path: Path) -> None:
    backend = run_proto(binary=write_proto_codex(tmp_path / "codex", habit="stays"))
    assert answer(backend, "on") == "on"
    await_nobody(backend)


@pytest.mark.parametrize(
    ("habit", "detail"), [("fails", "the reason"), ("hangs", "no session was configured in 1 s")]
)
def test_a_start_that_fails_is_told_and_tried_again(
    run_proto: Run, tmp_path: Path, habit: str, detail: str
) -> None:
    path = tmp_path / "codex"
    backend = run_proto(binary=write_proto_codex(path, habit=habit))
    eventually(lambda: backend.health().failures)
    last = backend.health().last_exit
    assert last is not None
    assert last.reason == "handshake_failed"
    assert detail in last.detail
    write_proto_codex(path)
    assert backend.wait_ready(DEADLINE_S)
    assert answer(backend, "on") == "on"


@pytest.mark.parametrize("version", ["codex-cli 0.43.0", "codex-cli 1.0.0", "v?"])
def test_another_version_is_refused(run_proto: Run, tmp_path: Path, version: str) -> None:
    backend = run_proto(binary=write_proto_codex(tmp_path / "codex", version=version))
    eventually(lambda: backend.health().reason == "binary_refused")


def test_the_bundled_binary_is_refused_by_its_version(run_proto: Run) -> None:
    backend = run_proto(binary=Path(bundled_codex_path()))
    eventually(lambda: backend.health().reason == "binary_refused")
    last = backend.health().last_exit
    assert last is not None
    assert "has no `proto`" in last.detail


def test_models_are_the_named_ones_or_those_of_its_menu(run_proto: Run) -> None:
    until = time.monotonic() + DEADLINE_S
    assert [model.id for model in run_proto().models(until)] == ["gpt-5-codex", "gpt-5"]
    found = run_proto(words=("llama", "codex")).models(until)
    assert [model.id for model in found] == ["gpt-5-codex", "gpt-5", "llama"]
