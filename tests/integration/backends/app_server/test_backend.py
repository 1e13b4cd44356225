"""The door to codex with the real binary behind it, in front of the scripted upstream."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent
import psutil
import pytest
from codex_cli_bin import bundled_codex_path

from app.backend.events import Event, RawItem, ResponseCompleted, TurnEnded, TurnStatus
from app.backend.observer import TurnState
from app.backends.app_server.backend import AppServerBackend
from app.backends.app_server.limits import Limits
from app.backends.app_server.turn import Turn
from app.codex.binary import pinned_version
from app.codex.config import UPSTREAM_KEY_VARIABLE, Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.errors import Draining, InvalidRequest, UpstreamError, WorkerBusy, WorkerUnavailable
from app.process.child import ChildSpec
from scripted_upstream.client import Control
from tests.fakes import app_server
from tests.fakes.engines import HELLO, LIMITS, MODEL, PATIENT, AppServerEngine, follow, say, texts
from tests.fakes.waiting import (
    DEADLINE_S,
    deadline,
    eventually,
    in_background,
    in_thread,
    is_known,
    outcome,
    result,
)

UPSTREAM_KEY = "sk-upstream-canary"
HUNG = {**HELLO, "failure": {"name": "hang_mid_stream", "after_deltas": 2}}

Run = Callable[..., AppServerEngine]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def run(upstream_url: str, home: Home) -> Iterator[Run]:
    started: list[tuple[AppServerEngine, gevent.Greenlet[..., Any]]] = []

    def run(limits: Limits = LIMITS, **admission: Any) -> AppServerEngine:
        upstream = Upstream(UpstreamKind.CONFIGURED, upstream_url, has_key=True)
        launcher = Launcher(home, bundled_codex_path(), upstream, UPSTREAM_KEY, 300_000)
        codex = AppServerEngine(AppServerBackend(launcher, limits, "0.0.0"), **admission)
        started.append((codex, in_background(codex.backend.run)))
        return codex

    yield run
    for codex, running in started:
        with deadline():
            codex.backend.stop()
        assert result(running) is None
        assert codex.admission.running == 0


@pytest.fixture
def codex(run: Run) -> AppServerEngine:
    codex = run()
    assert codex.supervisor.wait_ready(DEADLINE_S)
    return codex


def start(codex: AppServerEngine, text: str) -> Turn:
    with deadline():
        (turn,) = codex.start_turns(say(text))
        return turn


def hear(turn: Turn, count: int) -> list[str]:
    """Follow until so many pieces of text have come."""
    heard: list[str] = []
    with deadline():
        for batch in turn.follow(PATIENT):
            heard += texts(batch)
            if len(heard) >= count:
                break
    return heard


def child_pid(codex: AppServerEngine) -> int:
    pid = codex.health().pid
    assert pid is not None
    return pid


# Answers


def test_it_is_ready_and_says_what_it_is(codex: AppServerEngine) -> None:
    status = codex.health()
    assert status.ready
    assert (status.reason, status.state, status.generation) == (None, "ready", 1)
    assert (status.restarts, status.failures, status.last_exit) == (0, 0, None)
    assert status.user_agent.startswith("codex_completions_api/")
    assert is_known(child_pid(codex))
    assert "sk-" not in repr(codex)


def test_it_knows_the_models_of_the_binary(codex: AppServerEngine) -> None:
    models = {model.id: model for model in codex.models()}
    assert MODEL in models
    assert models[MODEL].default_effort in models[MODEL].efforts


def test_the_models_are_waited_for_while_the_child_starts(run: Run) -> None:
    codex = run()
    assert not codex.health().ready
    with deadline():
        assert codex.models()


def test_a_turn_says_exactly_what_the_upstream_says(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    control.script(marker, {**HELLO, "usage": {"input_tokens": 50, "output_tokens": 9}})
    turn = start(codex, marker)
    events = follow(turn)
    assert texts(events) == ["Grü", "ße ", "ße ", "✓", " 𝄞"]
    assert events[-1] == TurnEnded(TurnStatus.COMPLETED)
    usages = [event.usage for event in events if isinstance(event, ResponseCompleted)]
    assert [(usage.input, usage.output) for usage in usages if usage] == [(50, 9)]
    assert turn.state is TurnState.COMPLETED
    turn.close()
    (record,) = control.requests(marker)
    assert record["body"]["model"] == MODEL
    assert [item["content"] for item in record["body"]["input"]] == [
        [{"type": "input_text", "text": f"say {marker}"}]
    ]
    assert not record["body"].get("tools")


def test_two_turns_at_once_are_not_mixed(codex: AppServerEngine, control: Control) -> None:
    markers = [f"marker-{uuid4().hex}" for _ in range(2)]
    for marker in markers:
        pieces = [f"{marker[-4:]} {n} " for n in range(40)]
        items = [{"type": "message", "deltas": pieces}]
        control.script(marker, {"items": items, "interval_ms": 2, "hold_before_headers": True})
    turns = [start(codex, marker) for marker in markers]
    for marker in markers:  # both are on their way before either speaks
        in_thread(control.wait, "held", marker)
    for marker in markers:
        in_thread(control.release, marker)
    answers = [in_background(follow, turn) for turn in turns]
    for marker, answer in zip(markers, answers, strict=True):
        assert texts(result(answer)) == [f"{marker[-4:]} {n} " for n in range(40)]
    for turn in turns:
        turn.close()


def test_turns_that_are_asked_for_together_come_together(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    control.script(marker, {**HELLO, "hold": True})
    with deadline():
        turns = codex.start_turns(*[say(marker)] * 3)
    assert codex.admission.running == 3
    control.wait("held", marker, count=3)
    control.release(marker)
    assert len({turn.thread_id for turn in turns}) == 3
    for turn in turns:
        assert texts(follow(turn)) == ["Grü", "ße ", "ße ", "✓", " 𝄞"]
        turn.close()
    assert codex.admission.running == 0
    assert len(control.requests(marker)) == 3


def test_of_turns_that_cannot_all_be_begun_none_is_left(codex: AppServerEngine) -> None:
    wrong = replace(say("x"), items=({"type": "message", "role": "user", "content": "no list"},))
    error = outcome(codex.start_turns, say("the demo speaks"), say("the demo speaks"), wrong)
    assert isinstance(error, InvalidRequest)
    eventually(lambda: codex.admission.running == 0)
    turn = start(codex, "the demo speaks")
    follow(turn)
    turn.close()


def test_more_turns_than_there_are_slots_wait_or_are_refused_whole(
    run: Run, control: Control, marker: str
) -> None:
    codex = run(max_concurrency=2, queue_max=0)
    control.script(marker, HUNG)
    first = start(codex, marker)
    error = outcome(codex.start_turns, *[say("the demo speaks")] * 2)
    assert isinstance(error, WorkerBusy)
    assert codex.admission.running == 1
    first.close()
    eventually(lambda: codex.admission.running == 0)


def test_a_call_of_a_client_s_tool_comes_verbatim_and_ends_with_its_response(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    arguments = ' {"city" : "Z\\u00fcrich"}'
    call = {
        "type": "function_call",
        "name": "get_weather",
        "arguments": arguments,
        "call_id": "call_A",
    }
    control.script(marker, {"items": [call], "usage": {"input_tokens": 50, "output_tokens": 9}})
    tool = {
        "type": "function",
        "name": "get_weather",
        "description": "d",
        "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    (turn,) = codex.start_turns(replace(say(marker), tools=(tool,)))
    heard: list[Event] = []
    with deadline():
        for batch in turn.follow(PATIENT):
            heard += batch
            if any(isinstance(event, ResponseCompleted) for event in heard):
                break
    calls = [event.item for event in heard if isinstance(event, RawItem)]
    assert [(item["name"], item["arguments"]) for item in calls] == [("get_weather", arguments)]
    turn.close()
    eventually(lambda: codex.admission.running == 0)
    assert not turn.ended.is_set()  # it waits for the results
    assert len(control.requests(marker)) == 1  # codex never asked again


def test_an_upstream_that_fails_ends_the_turn_as_failed(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    control.script(marker, {"failure": "rate_limited"})
    turn = start(codex, marker)
    end = follow(turn)[-1]
    turn.close()
    assert isinstance(end, TurnEnded)
    assert end.status is TurnStatus.FAILED
    assert end.failure is not None
    assert end.failure.http_status == 429
    assert len(control.requests(marker)) == 1  # nothing was tried again


# Ends


def test_closing_a_running_turn_hangs_up_on_the_upstream(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    control.script(marker, HUNG)
    turn = start(codex, marker)
    assert hear(turn, 2) == ["Grü", "ße "]
    turn.close()
    in_thread(control.wait, "peer_closed", marker)
    with deadline():
        turn.ended.wait()
    eventually(lambda: codex.admission.running == 0)
    assert turn.state is TurnState.ABANDONED


def test_closing_a_turn_before_the_upstream_answered_hangs_up_too(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    control.script(marker, {"failure": "hang_before_headers"})
    turn = start(codex, marker)
    turn.close()
    with deadline():
        turn.ended.wait()
    eventually(lambda: codex.admission.running == 0)
    for record in control.requests(marker):  # it may never have come so far
        assert record["arrived_ms"] is not None
        in_thread(control.wait, "peer_closed", marker)


def test_a_turn_waits_for_a_place_and_gets_it(run: Run, control: Control, marker: str) -> None:
    codex = run(max_concurrency=1, queue_max=1)
    control.script(marker, HUNG)
    first = start(codex, marker)
    hear(first, 2)
    second = in_background(codex.start_turns, say("the demo speaks"))
    eventually(lambda: codex.health().waiting == 1)
    assert isinstance(outcome(start, codex, "one too many"), WorkerBusy)
    first.close()
    (turn,) = result(second)
    assert isinstance(follow(turn)[-1], TurnEnded)
    turn.close()
    assert codex.admission.running == 0


def test_a_draining_gateway_is_not_ready_and_serves_what_still_comes(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    control.script(marker, [{**HELLO, "hold": "end"}, HELLO])
    turn = start(codex, marker)
    heard = hear(turn, 5)
    codex.backend.begin_drain()
    assert (codex.health().ready, codex.health().reason) == (False, "draining")
    late = start(codex, marker)
    assert texts(follow(late)) == heard == ["Grü", "ße ", "ße ", "✓", " 𝄞"]
    assert in_thread(control.release, marker) == 1
    assert isinstance(follow(turn)[-1], TurnEnded)
    turn.close()
    late.close()


def test_turns_can_be_ended_from_our_side(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    control.script(marker, HUNG)
    turn = start(codex, marker)
    hear(turn, 2)
    codex.backend.end_turns(Draining("soon"))
    assert isinstance(outcome(follow, turn), Draining)
    turn.close()
    in_thread(control.wait, "peer_closed", marker)


def test_a_killed_child_fails_its_turns_and_the_next_one_serves(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    control.script(marker, [HUNG, HELLO])
    turn = start(codex, marker)
    hear(turn, 2)
    first = child_pid(codex)
    os.kill(first, signal.SIGKILL)
    error = outcome(follow, turn)
    assert isinstance(error, WorkerUnavailable)
    assert error.retryable
    turn.close()
    eventually(lambda: codex.health().restarts == 1)
    again = start(codex, marker)
    assert again.generation == 2
    assert texts(follow(again)) == ["Grü", "ße ", "ße ", "✓", " 𝄞"]
    again.close()
    status = codex.health()
    assert (status.generation, status.restarts) == (2, 1)
    assert status.last_exit is not None
    assert status.last_exit.exit_code == -signal.SIGKILL
    assert not is_known(first)


# What the child is given, and what is left of it


def test_stopping_leaves_no_process(codex: AppServerEngine, control: Control, marker: str) -> None:
    control.script(marker, HUNG)
    turn = start(codex, marker)
    hear(turn, 2)
    pid = child_pid(codex)
    processes = [pid, *(helper.pid for helper in psutil.Process(pid).children(recursive=True))]
    with deadline():
        codex.backend.stop()
    assert isinstance(outcome(follow, turn), WorkerUnavailable)
    turn.close()
    eventually(lambda: codex.admission.running == 0)
    assert [known for known in processes if is_known(known)] == []
    assert isinstance(outcome(start, codex, marker), Draining)


def test_the_child_gets_no_variable_of_ours_and_no_key_on_its_command_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PROXY_API_KEY", "PROXY_ADMIN_KEY", "OPENAI_API_KEY", "WORKER_QUEUE_MAX"):
        monkeypatch.setenv(name, "sk-gateway-canary")
    codex = run()
    assert codex.supervisor.wait_ready(DEADLINE_S)
    process = psutil.Process(child_pid(codex))
    environment = process.environ()
    assert [name for name in environment if name.startswith(("PROXY_", "WORKER_"))] == []
    assert "sk-gateway-canary" not in environment.values()
    assert environment[UPSTREAM_KEY_VARIABLE] == UPSTREAM_KEY
    assert UPSTREAM_KEY not in " ".join(process.cmdline())
    assert process.cwd() == environment["CODEX_HOME"] + "/gateway/workspace"


def test_a_config_that_is_not_ours_is_refused_by_name(run: Run, home: Home) -> None:
    home.root.mkdir()
    config = home.root / "config.toml"
    config.write_text('model = "another"\n')
    codex = run(queue_s=0.05)
    eventually(lambda: codex.health().last_exit is not None)
    last_exit = codex.health().last_exit
    assert last_exit is not None
    assert (last_exit.reason, last_exit.exit_code) == ("home_refused", None)
    assert codex.health().reason == "home_refused"
    assert "config.toml" in last_exit.detail
    assert not codex.health().ready
    assert isinstance(outcome(start, codex, "hello"), WorkerUnavailable)
    eventually(lambda: codex.health().degraded)
    assert config.read_text() == 'model = "another"\n'
    config.unlink()
    assert codex.supervisor.wait_ready(DEADLINE_S)


def test_a_binary_that_is_missing_is_a_named_reason(home: Home, upstream_url: str) -> None:
    upstream = Upstream(UpstreamKind.CONFIGURED, upstream_url)
    launcher = Launcher(home, Path("/nonexistent/codex"), upstream, "", 1000)
    codex = AppServerEngine(AppServerBackend(launcher, LIMITS, "0"))
    running = in_background(codex.backend.run)
    eventually(lambda: codex.health().last_exit is not None)
    last_exit = codex.health().last_exit
    assert last_exit is not None
    codex.backend.stop()
    assert result(running) is None
    assert last_exit.reason == "start_failed"
    assert "/nonexistent/codex" in last_exit.detail


def test_the_next_turn_after_a_kill_waits_for_the_next_child(
    codex: AppServerEngine, control: Control, marker: str
) -> None:
    control.script(marker, [HUNG, HELLO])
    turn = start(codex, marker)
    hear(turn, 2)
    os.kill(child_pid(codex), signal.SIGKILL)
    assert isinstance(outcome(follow, turn), WorkerUnavailable)
    turn.close()
    again = start(codex, marker)  # at the very moment of the loss
    assert again.generation == 2
    follow(again)
    again.close()


def test_a_polite_stop_is_no_recycling(
    codex: AppServerEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with deadline():
        codex.backend.stop()
    assert "child_recycled" not in [record.getMessage() for record in caplog.records]


def test_everything_below_codex_home_is_ours_alone(
    run: Any, home: Home, control: Control, marker: str
) -> None:
    before = os.umask(0o022)  # what most machines have
    try:
        codex = run()
        control.script(marker, HELLO)
        turn = start(codex, marker)
        follow(turn)
        turn.close()
        with deadline():
            codex.backend.stop()
    finally:
        os.umask(before)
    found = [home.root, *home.root.rglob("*")]
    open_to_others = [
        path
        for path in found
        if stat.S_IMODE(path.lstat().st_mode) & 0o077
        and not path.is_symlink()
        and path.name != "installation_id"  # codex sets that mode itself; its folder is closed
    ]
    assert open_to_others == []


# What cannot be read


class FakeLauncher(Launcher):
    """Starts a fake child that answers `turn/start` with nothing in it."""

    def prepare(self) -> ChildSpec:
        self.home.prepare()
        scenario = {
            "on": {"turn/start": [[{"result": {}}]]},
            "journal": str(self.home.root / "journal"),
        }
        argv = (sys.executable, "-I", "-S", str(app_server.__file__), json.dumps(scenario))
        return ChildSpec("fake", argv, {}, self.home.workspace)


def test_an_answer_that_makes_no_sense_is_the_upstreams_fault_and_costs_no_slot(home: Home) -> None:
    upstream = Upstream(UpstreamKind.CONFIGURED, "http://127.0.0.1:9/v1")
    launcher = FakeLauncher(home, Path("codex"), upstream, "", 1000)
    codex = AppServerEngine(AppServerBackend(launcher, LIMITS, "0"))
    running = in_background(codex.backend.run)
    assert codex.supervisor.wait_ready(DEADLINE_S)
    for _ in range(3):
        error = outcome(start, codex, "hello")
        assert (type(error), error.status, error.retryable) == (UpstreamError, 502, True)
    assert codex.admission.running == 0
    with deadline():
        codex.backend.stop()
    assert result(running) is None


def test_another_version_than_the_tested_one_is_one_warning(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = Upstream(UpstreamKind.CONFIGURED, "http://127.0.0.1:9/v1")
    codex = AppServerEngine(
        AppServerBackend(FakeLauncher(home, Path("codex"), upstream, "", 1000), LIMITS, "0")
    )
    running = in_background(codex.backend.run)
    assert codex.supervisor.wait_ready(DEADLINE_S)
    os.kill(child_pid(codex), signal.SIGKILL)
    eventually(lambda: codex.health().generation == 2 and codex.health().ready)
    with deadline():
        codex.backend.stop()
    assert result(running) is None
    (warning,) = [line for line in caplog.records if line.getMessage() == "codex_version_differs"]
    assert (vars(warning)["codex_version"], vars(warning)["tested"]) == ("1.2.3", pinned_version())


# What the binary printed


def test_the_binary_is_asked_for_its_models_once(run: Run, home: Home) -> None:
    assert run().supervisor.wait_ready(DEADLINE_S)
    written = home.printed_catalog.file.stat().st_mtime_ns
    assert run().supervisor.wait_ready(DEADLINE_S)
    assert home.printed_catalog.file.stat().st_mtime_ns == written


def test_what_codex_does_not_start_with_is_asked_for_again(run: Run, home: Home) -> None:
    """Somebody has put in what the binary never printed, with a digest that is right."""
    home.prepare()
    home.printed_catalog.write(bundled_codex_path(), b'{"models":[{"slug":5}]}')
    codex = run()
    assert codex.supervisor.wait_ready(DEADLINE_S)
    assert codex.health().restarts >= 1
    assert codex.models()
