"""The status and the models, from the real binary, from a running gateway, and from a scripted ChatGPT login."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from codex_cli_bin import bundled_codex_path

from app.settings import ROOT
from app.version import VERSION
from tests.e2e.harness import KEY, Gateway, end, start_gateway, wait_until
from tests.integration.cli.conftest import FakeCodex, Operator

SECRET = "sk-operator-secret-0123456789"


def lines_of(operator: Operator, code: int, **settings: str) -> dict[str, str]:
    done = operator.types("status", **settings)
    assert done.returncode == code, done.stderr
    rows = (line.split(maxsplit=1) for line in done.stdout.splitlines() if not line.startswith(" "))
    return {row[0]: row[1] for row in rows}


def test_before_and_after_a_login(operator: Operator) -> None:
    before = lines_of(operator, 0)
    assert before["upstream"].startswith("demo: ")
    assert before["login"].startswith("nobody is logged in")
    assert before["gateway"] == "not running"
    operator.types("login", "--api-key-stdin", given=SECRET)
    after = lines_of(operator, 0)
    assert after["upstream"].startswith("openai: ")
    assert after["login"] == "API key"
    operator.types("logout")
    assert lines_of(operator, 3)["login"].startswith("nobody is logged in")


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_a_reader_that_has_read_enough_is_no_failure_to_speak_of(
    operator: Operator, command: str
) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    said = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "codex", command],
        cwd=ROOT,
        env=operator.environment({"CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1"}),
        stdout=writes,
        stderr=subprocess.PIPE,
        check=False,
    ).stderr
    os.close(writes)
    assert said == b""


def test_versions(operator: Operator) -> None:
    pinned = subprocess.run(
        [bundled_codex_path(), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    assert operator.json("status")["versions"] == {"gateway": VERSION, "codex": pinned}


def test_an_upstream_of_ones_own(operator: Operator) -> None:
    found = operator.json("status", CODEX_UPSTREAM_URL="http://127.0.0.1:9/v1")
    assert found["upstream"] == {
        "kind": "custom",
        "reason": "CODEX_UPSTREAM_URL is set.",
        "address": "http://127.0.0.1:9/v1",
    }


def test_the_upstreams_key_stays_where_it_is(operator: Operator) -> None:
    settings = {"CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1", "CODEX_UPSTREAM_API_KEY": SECRET}
    for command in (["status"], ["status", "--json"], ["doctor"], ["models"]):
        done = operator.types(*command, **settings)
        assert SECRET not in done.stdout + done.stderr


def test_without_a_binary_the_rest_is_still_shown(operator: Operator) -> None:
    found = lines_of(operator, 1, CODEX_BIN="/nowhere/codex")
    assert "codex could not be started" in found["login"]
    assert "codex doctor" in found["login"]
    assert found["upstream"].startswith("demo")


ACCOUNT = {
    "account": {"type": "chatgpt", "email": "ann@example.com", "planType": "pro"},
    "requiresOpenaiAuth": True,
}
LIMITS = {
    "rateLimits": {
        "limitId": "codex",
        "primary": {"usedPercent": 12, "windowDurationMins": 300, "resetsAt": 1798761600},
        "secondary": {"usedPercent": 40, "windowDurationMins": 10080, "resetsAt": None},
    }
}


def test_what_the_fake_says_is_what_codex_may_say(tmp_path: Path) -> None:
    command = [bundled_codex_path(), "app-server", "generate-json-schema", "--experimental"]
    environment = {"CODEX_HOME": str(tmp_path)}
    subprocess.run([*command, "--out", tmp_path], env=environment, check=True, capture_output=True)
    for name, example in (
        ("GetAccountResponse", ACCOUNT),
        ("GetAccountRateLimitsResponse", LIMITS),
    ):
        schema = json.loads((tmp_path / "v2" / f"{name}.json").read_text())
        jsonschema.validate(example, schema)


def test_a_chatgpt_login_and_its_limits(operator: Operator, fake_codex: FakeCodex) -> None:
    binary = fake_codex(
        {"account/read": [{"result": ACCOUNT}], "account/rateLimits/read": [{"result": LIMITS}]}
    )
    done = operator.types("status", CODEX_BIN=str(binary))
    assert "login     ChatGPT, ann@example.com, plan pro" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("limits")] == [
        "limits    codex primary, window of 5 h: 12 % used, starts again at 2027-01-01T00:00:00Z",
        "limits    codex secondary, window of 168 h: 40 % used",
    ]
    found = operator.json("status", CODEX_BIN=str(binary))["login"]
    assert found["account"] == {"type": "chatgpt", "email": "ann@example.com", "plan": "pro"}
    assert found["limits"][0]["resets_at"] == "2027-01-01T00:00:00Z"


REFUSED = {"error": {"code": -32603, "message": "status 401: key sk-abcdefghijkl is revoked"}}


def test_limits_that_cannot_be_read_hide_nothing_else(
    operator: Operator, fake_codex: FakeCodex
) -> None:
    binary = fake_codex(
        {"account/read": [{"result": ACCOUNT}], "account/rateLimits/read": [REFUSED]}
    )
    found = lines_of(operator, 0, CODEX_BIN=str(binary))
    assert found["login"] == "ChatGPT, ann@example.com, plan pro"
    assert found["limits"] == "unknown: status 401: key [hidden] is revoked."


def test_a_login_that_cannot_be_looked_up(operator: Operator, fake_codex: FakeCodex) -> None:
    operator.home.mkdir()
    tokens = {"tokens": {"access_token": "a", "refresh_token": "b", "id_token": "c"}}
    (operator.home / "auth.json").write_text(json.dumps(tokens))
    binary = fake_codex({"account/read": [REFUSED]})
    found = lines_of(operator, 1, CODEX_BIN=str(binary))
    assert found["login"].startswith("ChatGPT; codex could not look it up: status 401")


def test_whoever_waits_is_told_for_what(operator: Operator, fake_codex: FakeCodex) -> None:
    binary = fake_codex({"account/read": []})
    done = operator.types("status", CODEX_BIN=str(binary), WORKER_RPC_TIMEOUT_MS="1500")
    assert "Asking codex about the login" in done.stderr
    assert "account/read got no answer in 1.5 s." in done.stdout


# Models


def test_the_models(operator: Operator) -> None:
    done = operator.types("models")
    assert done.returncode == 0
    heading, *rows = [line.split() for line in done.stdout.splitlines()]
    assert heading == ["MODEL", "DEFAULT", "EFFORTS"]
    found = operator.json("models")
    assert rows == [[model["id"], model["default_effort"], *model["efforts"]] for model in found]
    assert "gpt-5.5" in {model["id"] for model in found}
    assert all(model["default_effort"] in model["efforts"] for model in found)


def test_no_models_without_a_child(operator: Operator) -> None:
    done = operator.types("models", CODEX_BIN="/nowhere/codex")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "codex could not be started" in done.stderr
    assert "-> " in done.stderr


# Beside a running gateway


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Gateway]:
    gateway = start_gateway(tmp_path, None, PORT=str(free_port()))
    gateway.wait_ready()
    yield gateway
    end(gateway)


@pytest.fixture
def beside(running: Gateway, tmp_path: Path) -> Operator:
    return Operator(tmp_path, {"PORT": str(running.port), "PROXY_API_KEY": KEY})


def test_a_running_gateway_and_its_child(beside: Operator, running: Gateway) -> None:
    child = running.child().pid
    found = beside.json("status")["gateway"]
    assert found["pid"] == running.process.pid
    assert found["address"] == running.url
    assert found["ready"] is True
    assert found["health"] == "ok"
    assert found["child"]["pid"] == child
    assert "child" in lines_of(beside, 0)


def test_the_limits_that_a_running_gateway_asked_for_at_its_start(
    tmp_path: Path, fake_codex: FakeCodex
) -> None:
    primary = {"usedPercent": 12, "windowDurationMins": 300, "resetsAt": 4_000_000_000}
    limits = {"rateLimits": {"limitId": "codex", "primary": primary}}
    binary = fake_codex({"account/rateLimits/read": [{"result": limits}]})
    settings = {"CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1", "PORT": str(free_port())}
    gateway = start_gateway(tmp_path, None, CODEX_BIN=str(binary), **settings)
    try:
        gateway.wait_ready()
        wait_until(lambda: gateway.get("/healthz").json()["account_limits"], "the child has told")
        shown = lines_of(Operator(tmp_path, settings | {"PROXY_API_KEY": KEY}), 0)
    finally:
        end(gateway)
    assert shown["limits"] == (
        "as last heard, primary, window of 5 h: 12 % used, starts again at 2096-10-02T07:06:40Z"
    )


def test_the_commands_do_not_disturb_a_running_gateway(beside: Operator, running: Gateway) -> None:
    child = running.child().pid
    for command in (["status"], ["models"], ["doctor", "--offline"]):
        assert beside.types(*command).returncode == 0
    assert running.child().pid == child
    assert running.get("/readyz").status_code == 200
    worst = [entry for entry in running.log() if entry["level"] in {"error", "critical"}]
    assert worst == []


def test_the_doctor_knows_our_own_port(beside: Operator, running: Gateway) -> None:
    found = beside.examine("--offline")["port"]
    assert found["level"] == "ok"
    assert f"pid {running.process.pid}" in found["sentence"]


def test_a_login_says_how_the_running_gateway_takes_it(beside: Operator) -> None:
    done = beside.types("login", "--api-key-stdin", given=SECRET)
    assert f"kill -HUP $(cat {beside.home}/gunicorn.pid)" in done.stdout


def test_a_gateway_that_does_not_answer(
    beside: Operator, running: Gateway, resume: Callable[[Any], None]
) -> None:
    resume(running)
    running.process.send_signal(signal.SIGSTOP)
    for worker in running.workers():
        worker.suspend()
    found = beside.json("status")["gateway"]
    assert (found["ready"], found["reason"]) == (None, "it does not answer")


@pytest.fixture
def resume() -> Iterator[Callable[[Any], None]]:
    """Let the gateway go on afterwards, so that it can be ended."""
    stopped: list[Gateway] = []
    yield stopped.append
    for gateway in stopped:
        gateway.process.send_signal(signal.SIGCONT)
        for worker in gateway.workers():
            worker.resume()


def test_the_key_is_not_sent_to_a_stranger(operator: Operator) -> None:
    """A pid file of a process that is gone: whatever listens on the port is not asked."""
    operator.home.mkdir()
    done = subprocess.Popen([shutil.which("true") or "true"])
    done.wait()
    (operator.home / "gunicorn.pid").write_text(f"{done.pid}\n")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(0.2)
        found = operator.json("status", PORT=str(sock.getsockname()[1]))
        with pytest.raises(TimeoutError):
            sock.accept()
    assert found["gateway"]["pid"] is None


def test_the_doctor_asks_a_running_gateway_and_starts_no_second_child(
    beside: Operator, running: Gateway
) -> None:
    """Its databases can be broken without harm: it has them open."""
    found = beside.examine("--offline", CODEX_BIN="/nowhere/codex")["codex child"]
    assert found["level"] == "ok"
    assert f"serves in the running gateway, pid {running.child().pid}." in found["sentence"]


@pytest.mark.parametrize("content", ["", "{}", "null", '{"OPENAI_API_KEY": "'])
def test_a_file_that_holds_no_login_is_none(operator: Operator, content: str) -> None:
    operator.home.mkdir()
    (operator.home / "auth.json").write_text(content)
    found = lines_of(operator, 1)
    assert found["upstream"].startswith("openai: auth.json is no login: It ")
    assert "auth.json is no login. It " in found["login"]
    doctor = operator.types("doctor", "--offline")
    assert doctor.returncode == 1
    (line,) = [line for line in doctor.stdout.splitlines() if " login " in line]
    assert line.startswith("FAILED")
    assert "auth.json is no login: It " in line
