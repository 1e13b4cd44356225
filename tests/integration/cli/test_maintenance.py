"""`codex maintenance` beside a running gateway."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.harness import KEY, Gateway, end, start_gateway
from tests.integration.cli.conftest import Operator

ADMIN_KEY = "sk-cli-3Hy6Pf5Gk0aEo8Zi2Mx7"
UNTIL = "2099-12-01T10:00:00Z"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    folder = tmp_path_factory.mktemp("running")
    gateway = start_gateway(folder, None, PORT=str(port), PROXY_ADMIN_KEY=ADMIN_KEY)
    gateway.wait_ready()
    yield gateway
    end(gateway)


@pytest.fixture
def beside(running: Gateway) -> Operator:
    settings = {"PORT": str(running.port), "PROXY_API_KEY": KEY, "PROXY_ADMIN_KEY": ADMIN_KEY}
    return Operator(running.home.parent, settings)


def test_an_operator_closes_the_gateway_and_opens_it(beside: Operator, running: Gateway) -> None:
    options = ("--reason", "We move.", "--until", UNTIL, "--retry-after", "30")
    on = beside.types("maintenance", "on", *options)
    assert on.returncode == 0
    rows = dict(line.split(maxsplit=1) for line in on.stdout.splitlines())
    assert rows.pop("since")
    assert rows == {
        "enabled": "True",
        "reason": "We move.",
        "until": UNTIL,
        "retry_after_s": "30",
        "set_by": "endpoint",
        "configured": "False",
    }
    assert running.get("/v1/models").json()["error"]["message"].endswith(f"until {UNTIL}: We move.")
    assert beside.types("maintenance", "status").stdout == on.stdout
    found = beside.json("maintenance", "status")
    assert (found["enabled"], found["until"], found["retry_after_s"]) == (True, UNTIL, 30)
    status = beside.types("status")
    assert "in maintenance" in status.stdout
    off = beside.types("maintenance", "off")
    assert off.stdout.startswith("configured  False\nenabled     False\n")
    assert running.get("/v1/models").status_code == 200
    assert beside.types("maintenance", "reset").stdout.split()[4:6] == ["set_by", "setting"]


def test_what_the_gateway_refuses_is_said_in_its_words(beside: Operator) -> None:
    done = beside.types("maintenance", "on", "--until", "tomorrow")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("400 invalid_value: Invalid 'until': expected a time in UTC")
    wrong = beside.types("maintenance", "status", PROXY_ADMIN_KEY="wrong")
    assert wrong.returncode == 1
    assert "Incorrect API key" in wrong.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CODEX_HOME": "/nowhere"}, "No gateway runs"),
        (
            {
                "PROXY_ENV": "prod",
                "PROXY_ADMIN_KEY": "",
                "PROXY_API_KEY": "q7Vd0m2XvK9sLw4Tz1Bn8RcJ",
            },
            "PROXY_ADMIN_KEY is not set",
        ),
    ],
)
def test_where_there_is_nobody_to_ask(
    beside: Operator, settings: dict[str, str], sentence: str
) -> None:
    done = beside.types("maintenance", "on", **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr


def test_a_command_prints_no_events_of_the_log(operator: Operator) -> None:
    settings = {"PROXY_ENV": "staging", "PROXY_API_KEYS": "ann=short", "PROXY_APIKEY": "x"}
    done = operator.types("maintenance", "status", **settings)
    assert done.stderr == "No gateway runs with this CODEX_HOME.\n"
    profile = operator.examine("--offline", **settings)["settings"]
    assert profile["level"] == "warn"
    assert "PROXY_API_KEYS: the key of ann needs 24 characters" in profile["sentence"]


def test_without_a_subcommand_there_is_help(operator: Operator) -> None:
    said = operator.types("maintenance").stderr + operator.types("maintenance", "--help").stdout
    for name in ("on", "off", "reset", "status"):
        assert f"\n  {name} " in said
