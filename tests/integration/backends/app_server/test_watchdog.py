"""Children that hang, grow, or have the login of yesterday: found, and replaced by one that does not."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest
from codex_cli_bin import bundled_codex_path

from app.backend.events import TurnEnded
from app.backend.request import TurnRequest
from app.backends.app_server.backend import AppServerBackend
from app.backends.app_server.connection import Connection
from app.backends.app_server.limits import Limits
from app.backends.app_server.turn import Turn
from app.backends.app_server.watchdog import HealthLimits, HealthProblem, Watchdog
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.errors import UpstreamAuth, WorkerLost
from app.process.child import Child, ChildSpec, StopLadder
from app.process.memory import resident_bytes
from scripted_upstream.client import Control
from tests.fakes import app_server
from tests.fakes.engines import HELLO, LIMITS, AppServerEngine, follow, say, texts
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, in_background, outcome, result

QUICK = HealthLimits(interval_s=0.02, silence_s=0.2, answer_s=0.6, memory_bytes=1 << 40, busy_s=1.2)
LADDER = StopLadder(DEADLINE_S, DEADLINE_S, DEADLINE_S)


# One child, and what its watchdog says of it


class Guarded:
    """A fake child in conversation, with a watchdog."""

    def __init__(self, folder: Path, on: dict[str, Any], limits: HealthLimits) -> None:
        self._journal = folder / "journal"
        scenario = json.dumps({"on": on, "journal": str(self._journal)})
        argv = (sys.executable, "-I", "-S", str(app_server.__file__), scenario)
        self.child = Child(ChildSpec("fake", argv, {}, folder))
        self.concerns: list[HealthProblem] = []
        self.generation = Connection(
            1, self.child, rpc_timeout_s=DEADLINE_S, on_lost=lambda _: None
        )
        with deadline():
            self.generation.shake_hands("1", DEADLINE_S, lambda: None)
        watchdog = Watchdog(self.generation, limits, self.concerns.append)
        self.watching = in_background(watchdog.run)

    def heard(self) -> int:
        return self._journal.read_text().count("thread/loaded/list")

    def end(self) -> None:
        with deadline():
            self.child.kill()
            self.child.stop(LADDER)
            self.generation.detach()
            self.child.close()
        result(self.watching)


Guard = Callable[..., Guarded]


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    made: list[Guarded] = []

    def guard(answer: Any = None, limits: HealthLimits = QUICK) -> Guarded:
        on = {} if answer is None else {"thread/loaded/list": answer}
        made.append(Guarded(tmp_path, on, limits))
        return made[-1]

    yield guard
    for one in made:
        one.end()


@pytest.mark.parametrize("answer", [None, [[{"error": {"code": -32600, "message": "no"}}]]])
def test_a_child_that_answers_is_left_alone_whatever_it_says(guard: Guard, answer: Any) -> None:
    guarded = guard(answer)
    eventually(lambda: guarded.heard() >= 3)
    assert guarded.concerns == []


def test_a_child_that_says_nothing_hangs(guard: Guard) -> None:
    guarded = guard([[]])
    eventually(lambda: guarded.concerns == [HealthProblem.HUNG])
    result(guarded.watching)  # nothing more is asked


def test_a_stopped_child_hangs(guard: Guard) -> None:
    guarded = guard()
    eventually(lambda: guarded.heard() >= 1)
    os.kill(guarded.child.pid, signal.SIGSTOP)
    eventually(lambda: guarded.concerns == [HealthProblem.HUNG])


def test_a_child_that_talks_and_does_not_answer_is_deaf(guard: Guard) -> None:
    """It is given longer, since a busy child looks the same for a while."""
    guarded = guard([[]])
    talking = in_background(_keep_talking, guarded)
    eventually(lambda: guarded.concerns == [HealthProblem.DEAF])
    talking.kill()


def _keep_talking(guarded: Guarded) -> None:
    # Any call that is answered makes it say something.
    while True:
        guarded.generation.channel.call("model/list", {}, DEADLINE_S)
        gevent.sleep(0.02)


def test_a_child_that_grows_is_a_concern_and_is_asked_on(guard: Guard) -> None:
    guarded = guard(limits=replace(QUICK, memory_bytes=1 << 20))
    eventually(lambda: guarded.concerns == [HealthProblem.MEMORY_TWICE])


def test_a_child_that_dies_is_no_concern(guard: Guard) -> None:
    guarded = guard()
    guarded.child.kill()
    assert result(guarded.watching) is None
    assert guarded.concerns == []


# The real child

Run = Callable[..., AppServerEngine]
ATTENTIVE = replace(LIMITS, probe_interval_ms=100, probe_timeout_ms=1000)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def run(upstream_url: str, home: Home) -> Iterator[Run]:
    started: list[tuple[AppServerEngine, gevent.Greenlet[..., Any]]] = []

    def run(
        limits: Limits = ATTENTIVE, kind: UpstreamKind = UpstreamKind.CONFIGURED, key: str = "k"
    ) -> AppServerEngine:
        upstream = Upstream(kind, upstream_url, has_key=kind is UpstreamKind.CONFIGURED)
        launcher = Launcher(home, bundled_codex_path(), upstream, key, 300_000)
        codex = AppServerEngine(AppServerBackend(launcher, limits, "0.0.0"))
        started.append((codex, in_background(codex.backend.run)))
        assert codex.supervisor.wait_ready(DEADLINE_S)
        return codex

    yield run
    for codex, running in started:
        with deadline():
            codex.backend.stop()
        assert result(running) is None
        assert (codex.admission.running, codex.health().retiring) == (0, 0)


def begin(codex: AppServerEngine, request: TurnRequest) -> Turn:
    with deadline():
        (turn,) = codex.start_turns(request)
        return turn


def answer(codex: AppServerEngine, marker: str) -> list[str]:
    turn = begin(codex, say(marker))
    try:
        return texts(follow(turn))
    finally:
        turn.close()


def pid_of(codex: AppServerEngine) -> int:
    pid = codex.health().pid
    assert pid is not None
    return pid


def test_a_stopped_child_is_replaced(run: Run, control: Control, marker: str) -> None:
    codex = run()
    old = pid_of(codex)
    os.kill(old, signal.SIGSTOP)
    eventually(lambda: codex.health().restarts == 1)
    control.script(marker, HELLO)
    assert answer(codex, marker) == HELLO["items"][0]["deltas"]
    assert codex.health().generation == 2


def test_what_runs_on_a_replaced_child_finishes(run: Run, control: Control, marker: str) -> None:
    codex = run()
    old = pid_of(codex)
    control.script(marker, {**HELLO, "hold": "end"})
    slow = begin(codex, say(marker))
    control.wait("held", marker)
    assert codex.supervisor.replace("memory")
    eventually(lambda: codex.health().generation == 2)
    assert codex.health().ready
    assert (pid_of(codex) != old, codex.health().retiring) == (True, 1)
    control.script(marker + "2", HELLO)
    quick = begin(codex, say(marker + "2"))
    assert (quick.generation, slow.generation) == (2, 1)
    assert texts(follow(quick)) == HELLO["items"][0]["deltas"]
    control.release(marker)
    assert texts(follow(slow)) == HELLO["items"][0]["deltas"]
    slow.close()
    quick.close()
    eventually(lambda: codex.health().retiring == 0)
    assert codex.health().restarts == 0


def test_a_child_above_its_limit_is_replaced_and_nobody_notices(
    run: Run, control: Control, marker: str
) -> None:
    codex = run(replace(ATTENTIVE, memory_bytes=1 << 40))
    control.script(marker, HELLO)
    answer(codex, marker)  # after the first turn it stays about as large as it is
    size = resident_bytes(pid_of(codex))
    assert size is not None
    generation = codex.backend.connection
    assert generation is not None
    sensitive = replace(ATTENTIVE.health_limits, memory_bytes=size * 4 // 5, settled_s=0)
    generation.spawn_background(
        Watchdog(generation, sensitive, partial(codex.backend._on_unhealthy, generation)).run
    )
    for _ in range(20):
        assert answer(codex, marker) == HELLO["items"][0]["deltas"]
    eventually(lambda: codex.health().generation == 2)
    assert (codex.health().restarts, codex.health().failures) == (0, 0)


def test_a_hung_child_that_retires_is_ended_too(run: Run, control: Control, marker: str) -> None:
    codex = run()
    old = pid_of(codex)
    control.script(marker, {**HELLO, "hold": "end"})
    turn = begin(codex, say(marker))
    control.wait("held", marker)
    codex.supervisor.replace("memory")
    eventually(lambda: codex.health().generation == 2)
    os.kill(old, signal.SIGSTOP)
    error = outcome(follow, turn)
    assert isinstance(error, WorkerLost)
    turn.close()
    eventually(lambda: codex.health().retiring == 0)
    assert (codex.health().ready, codex.health().restarts) == (True, 0)
    control.release(marker)


def log_in(home: Home, key: str) -> None:
    """As `codex login --api-key-stdin` does it."""
    home.prepare()
    subprocess.run(
        [
            str(bundled_codex_path()),
            *("-c", 'cli_auth_credentials_store="file"', "login", "--with-api-key"),
        ],
        input=key.encode(),
        env={"CODEX_HOME": str(home.root), "HOME": str(home.root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )


def was_used(control: Control, marker: str, key: str) -> bool:
    headers = control.requests(marker)[-1]["headers"]
    return bool(headers["authorization-sha256"] == hashlib.sha256(key.encode()).hexdigest()[:12])


def test_the_first_request_after_a_login_has_it(
    run: Run, home: Home, control: Control, marker: str
) -> None:
    """The watchdog would look again in a minute; a request does not wait for that."""
    codex = run(replace(LIMITS, probe_interval_ms=60_000), UpstreamKind.OPENAI)
    control.script(marker, HELLO)
    assert isinstance(outcome(begin, codex, say(marker)), UpstreamAuth)
    assert codex.health().reason == "upstream_auth"
    log_in(home, "sk-first-login")
    assert codex.health().reason is None
    assert answer(codex, marker) == HELLO["items"][0]["deltas"]
    assert was_used(control, marker, "sk-first-login")
    assert codex.health().restarts == 0


def test_another_login_reaches_the_child_by_itself(
    run: Run, home: Home, control: Control, marker: str
) -> None:
    log_in(home, "sk-first-login")
    codex = run(ATTENTIVE, UpstreamKind.OPENAI)
    control.script(marker, HELLO)
    answer(codex, marker)
    assert was_used(control, marker, "sk-first-login")
    log_in(home, "sk-second-login")
    eventually(lambda: codex.health().generation == 2)
    answer(codex, marker)
    assert was_used(control, marker, "sk-second-login")
    home.auth_file.unlink()
    assert isinstance(outcome(begin, codex, say(marker)), UpstreamAuth)
    assert codex.health().reason == "upstream_auth"
    log_in(home, "sk-third-login")
    eventually(lambda: codex.health().generation == 3)  # no child without a login came between


def test_a_login_is_taken_up_while_an_earlier_child_still_finishes(
    run: Run, home: Home, control: Control, marker: str
) -> None:
    """Logged out and in again under a long turn, which is not disturbed: no child without a login comes between."""
    log_in(home, "sk-first-login")
    codex = run(ATTENTIVE, UpstreamKind.OPENAI)
    control.script(marker, [{**HELLO, "hold": "end"}, HELLO])
    turn = begin(codex, say(marker))
    control.wait("held", marker)
    home.auth_file.unlink()
    assert isinstance(outcome(begin, codex, say(marker)), UpstreamAuth)
    log_in(home, "sk-second-login")
    eventually(lambda: codex.health().generation == 2)
    assert answer(codex, marker) == HELLO["items"][0]["deltas"]
    assert was_used(control, marker, "sk-second-login")
    control.release(marker)
    assert isinstance(follow(turn)[-1], TurnEnded)  # the long one was not disturbed
    turn.close()
