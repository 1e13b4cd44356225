"""`codex trace`, with the traces of a real gateway and with a folder that is empty, foreign or damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import KEY, MODEL, Gateway, end, start_gateway, wait_until
from tests.integration.cli.conftest import Operator


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[Gateway, str]]:
    """A gateway with the demo upstream that has answered one request, and the request's id."""
    gateway = start_gateway(tmp_path, None)
    gateway.wait_ready()
    answer = gateway.post({"model": MODEL, "messages": [{"role": "user", "content": "Hello?"}]})
    assert answer.status_code == 200
    request_id = answer.headers["X-Request-Id"]
    address = f"/internal/traces/{request_id}"
    wait_until(lambda: gateway.get(address).status_code == 200, "the trace is written")
    yield gateway, request_id
    end(gateway)


def test_a_request_is_a_timeline(traced: tuple[Gateway, str], operator: Operator) -> None:
    gateway, request_id = traced
    with_key = {"PROXY_API_KEY": KEY}
    done = operator.types("trace", request_id, **with_key)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"request_id      {request_id}\n")
    rows = [line.split() for line in done.stdout.splitlines()]
    calls = [row[3] for row in rows if "call" in row]
    assert calls == ["thread/start", "thread/inject_items", "turn/start"]
    assert any("item/agentMessage/delta" in row for row in rows)
    assert "Hello?" not in done.stdout
    (shown,) = gateway.get(f"/internal/traces/{request_id}").json()["traces"]
    assert operator.json("trace", request_id, **with_key) == [shown]


def test_without_an_id_the_newest_are_listed(
    traced: tuple[Gateway, str], operator: Operator
) -> None:
    gateway, request_id = traced
    heading, line = operator.types("trace").stdout.splitlines()
    assert heading.split() == ["AT", "REQUEST", "MODEL", "OUTCOME", "MS"]
    assert line.split()[1:4] == [request_id, MODEL, "completed"]
    assert operator.json("trace") == gateway.get("/internal/traces").json()["traces"]
    assert gateway.stop() == 0
    assert operator.types("trace", request_id).returncode == 0  # no gateway is needed


def test_nothing_yet(operator: Operator) -> None:
    done = operator.types("trace")
    assert done.returncode == 0
    assert "There is no trace in " in done.stdout
    assert operator.json("trace") == []
    assert not operator.home.exists()


@pytest.mark.parametrize("request_id", ["req_nobody", "..", "../auth.json"])
def test_an_id_without_a_trace(operator: Operator, request_id: str) -> None:
    done = operator.types("trace", request_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no trace of this request." in done.stderr
    assert "GET /internal/traces has them at once." in done.stderr


def test_a_folder_that_cannot_be_read(operator: Operator) -> None:
    operator.home.mkdir()
    (operator.home / "trace-buffer").write_text("in the way")
    for arguments in (["trace"], ["trace", "req_x"]):
        done = operator.types(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Not a directory: " in done.stderr


def test_a_file_that_somebody_damaged_is_passed_over(operator: Operator) -> None:
    folder = operator.home / "trace-buffer"
    folder.mkdir(parents=True)
    (folder / "1795818728636-1-000000001.json").write_text('{"request_id": "req_x", "at"')
    (folder / "1795818728637-1-000000001.json").write_text(json.dumps(["req_x"]))
    assert operator.types("trace", "req_x").returncode == 1
    assert operator.json("trace") == []
