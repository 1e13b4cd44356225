"""`flask codex smoke` and scripts/smoke against the real gateway."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, KEY, ROOT, Gateway, Upstream

pytestmark = pytest.mark.timeout(240)

SMOKE = (sys.executable, "-m", "flask", "--app", "wsgi", "codex", "smoke")


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CODEX_HOME": str(tmp_path / "nobody's"),
        "PROXY_API_KEY": KEY,
        "PROD_API_KEY": KEY,
        "FLASK_SKIP_DOTENV": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def runs(tmp_path: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(tmp_path) | variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert KEY not in done.stdout + done.stderr
    return done


def levels(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {check["name"]: check["level"] for check in json.loads(done.stdout)["checks"]}


@pytest.fixture
def scripted(upstream: Upstream) -> Iterator[None]:
    """Let the upstream answer the prompts of the smoke test as a model would."""
    call = {"type": "function_call", "name": "look_up_code", "arguments": '{"name":"smoke"}'}
    answers: dict[str, list[dict[str, Any]] | dict[str, Any]] = {
        "Monday": {"items": [{"type": "message", "deltas": ["Tues", "day."]}]},
        "look_up_code": [
            {"items": [call]},
            {"items": [{"type": "message", "deltas": ["The code is 4711."]}]},
        ],
    }
    for word, script in answers.items():
        upstream.control.script(word, script)
    yield
    for word in answers:
        upstream.control.drop(word)


@pytest.mark.usefixtures("scripted")
def test_a_gateway_with_a_model_passes(gateway: Gateway, tmp_path: Path) -> None:
    done = runs(tmp_path, *SMOKE, gateway.url, "--require", "tool-call", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(levels(done).values()) == {"ok"}
    assert done.stderr == ""


def test_a_newcomers_gateway_passes_with_a_warning_and_is_not_good_enough_for_production(
    lend_gateway: Any, tmp_path: Path
) -> None:
    gateway: Gateway = lend_gateway(with_upstream=False)
    script = str(ROOT / "scripts" / "smoke" / "dev.sh")
    done = runs(tmp_path, script, gateway.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "Passed, with warnings: upstream."
    assert re.search(r"^ok      stream +\d+ ms  \d+ frames", done.stdout, re.MULTILINE)
    refusing = runs(tmp_path, *SMOKE, gateway.url, "--require", "model", "--json")
    assert refusing.returncode == 1
    assert levels(refusing)["upstream"] == "fail"


def test_a_gateway_without_a_login_fails_where_it_fails(make_gateway: Any, tmp_path: Path) -> None:
    key = "sk-production-key-0123456789abcdef"
    gateway: Gateway = make_gateway(
        with_upstream=False, ready=False, PROXY_ENV="prod", PROXY_API_KEY=key
    )
    done = runs(tmp_path, *SMOKE, gateway.url, "--json", PROXY_API_KEY=key)
    assert done.returncode == 1
    found = levels(done)
    assert (found["readyz"], found["healthz"], found["chat"]) == ("fail", "fail", "fail")
    assert (found["doors"], found["errors"], found["models"]) == ("ok", "ok", "ok")
    assert found["tools"] == "skip"


def test_in_maintenance_it_fails_and_says_how_to_end_it(lend_gateway: Any, tmp_path: Path) -> None:
    gateway: Gateway = lend_gateway(with_upstream=False)
    url = f"{gateway.url}/internal/maintenance"
    order = {"enabled": True, "reason": "We are moving."}
    assert requests.post(url, json=order, headers=gateway.headers, timeout=DEADLINE_S).ok
    done = runs(tmp_path, *SMOKE, gateway.url)
    assert done.returncode == 1
    rows = re.findall(r"^(ok|warn|FAILED|skip) +(\w+)", done.stdout, re.MULTILINE)
    found = {name: level for level, name in rows}
    assert (found["readyz"], found["healthz"], found["models"]) == ("ok", "warn", "FAILED")
    assert found["chat"] == "skip"
    assert "503 MAINTENANCE: This gateway is in maintenance: We are moving." in done.stdout
    assert ".venv/bin/flask --app wsgi codex maintenance off" in done.stdout
    assert requests.delete(url, headers=gateway.headers, timeout=DEADLINE_S).ok


def test_a_wrong_key_is_named(gateway: Gateway, tmp_path: Path) -> None:
    done = runs(tmp_path, *SMOKE, gateway.url, PROXY_API_KEY="sk-wrong")
    assert done.returncode == 1
    assert "401 invalid_api_key" in done.stdout
    assert "\nFAILED: models." in done.stdout


def test_on_a_terminal_one_sees_what_is_being_waited_for(lend_gateway: Any, tmp_path: Path) -> None:
    """The demo takes longer than a second to answer."""
    gateway: Gateway = lend_gateway(with_upstream=False)
    master, terminal = pty.openpty()
    done = subprocess.run(
        [*SMOKE, gateway.url],
        cwd=ROOT,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=terminal,
        timeout=100,
        check=False,
    )
    os.close(terminal)
    seen = os.read(master, 4096).decode()
    os.close(master)
    assert done.returncode == 0
    assert "... chat" in seen
    assert "... livez" not in seen
