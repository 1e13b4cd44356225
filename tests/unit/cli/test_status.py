"""The status as a person reads it, and as a script does."""

from __future__ import annotations

import pytest

from app.cli.account import API_KEY, CHATGPT, Account, Limit, Login
from app.cli.exit_codes import Exit
from app.cli.running_gateway import Running
from app.cli.status import Status, describe
from app.codex.config import Upstream, UpstreamKind
from app.codex.upstream import UpstreamChoice

OPENAI, CUSTOM, DEMO = UpstreamKind.OPENAI, UpstreamKind.CONFIGURED, UpstreamKind.DEMO
VERSIONS = {"gateway": "1.0", "codex": None}
NOT_RUNNING = Running(None)


def status(
    kind: UpstreamKind, login: Login, gateway: Running = NOT_RUNNING, problem: str = ""
) -> Status:
    choice = UpstreamChoice(Upstream(kind), "A reason.")
    return Status(choice, login, dict(VERSIONS), gateway, problem)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (status(OPENAI, Login(Account(API_KEY))), Exit.OK),
        (status(OPENAI, Login()), Exit.NOT_LOGGED_IN),
        (status(OPENAI, Login(Account(CHATGPT), problem="no network.")), Exit.FAILED),
        (status(OPENAI, Login(Account(CHATGPT), limits_problem="no network.")), Exit.OK),
        (status(DEMO, Login()), Exit.OK),
        (status(CUSTOM, Login()), Exit.OK),
        (status(CUSTOM, Login(problem="no network.")), Exit.OK),
        (status(CUSTOM, Login(), problem="It did not start."), Exit.FAILED),
    ],
)
def test_exit_codes(seen: Status, code: Exit) -> None:
    assert seen.exit_code is code


def line(seen: Status, name: str) -> str:
    (found,) = [sentence for word, sentence in describe(seen) if word == name]
    return found


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (status(OPENAI, Login()), "nobody is logged in"),
        (status(OPENAI, Login(Account(API_KEY))), "API key"),
        (
            status(OPENAI, Login(Account(CHATGPT), problem="no network.")),
            "ChatGPT; codex could not look it up: no network.",
        ),
        (status(OPENAI, Login(), problem="It did not start."), "unknown: It did not start."),
    ],
)
def test_the_login(seen: Status, sentence: str) -> None:
    assert line(seen, "login").startswith(sentence)


def test_the_limits() -> None:
    limits = (Limit("a", 1, None, None), Limit("b", 2, None, None))
    shown = list(describe(status(OPENAI, Login(Account(CHATGPT), limits=limits))))
    assert [row for row in shown if row[0] == "limits"] == [
        ("limits", "a: 1 % used"),
        ("limits", "b: 2 % used"),
    ]
    unknown = status(OPENAI, Login(Account(CHATGPT), limits_problem="no network."))
    assert line(unknown, "limits") == "unknown: no network."


def test_limits_that_only_the_gateway_heard_of() -> None:
    windows = {
        "primary": {"used_percent": 3, "window_minutes": 300, "resets_at": 1_800_000_000},
        "secondary": {"used_percent": 4, "window_minutes": None, "resets_at": None},
    }
    gateway = Running(7, account_limits=windows)
    shown = list(describe(status(CUSTOM, Login(), gateway)))
    assert [sentence for word, sentence in shown if word == "limits"] == [
        "as last heard, primary, window of 5 h: 3 % used, starts again at 2027-01-15T08:00:00Z",
        "as last heard, secondary: 4 % used",
    ]
    asked = Login(Account(CHATGPT), limits=(Limit("a", 1, None, None),))
    assert line(status(OPENAI, asked, gateway), "limits") == "a: 1 % used"


ADDRESS = "http://127.0.0.1:11435"


@pytest.mark.parametrize(
    ("gateway", "sentence"),
    [
        (NOT_RUNNING, "not running"),
        (Running(7, ADDRESS, ready=True), f"running, pid 7, {ADDRESS}: ready"),
        (
            Running(7, ADDRESS, ready=False, reason="backoff"),
            f"running, pid 7, {ADDRESS}: not ready (backoff)",
        ),
        (Running(7, reason="PORT=0"), "running, pid 7: unknown (PORT=0)"),
    ],
)
def test_the_gateway(gateway: Running, sentence: str) -> None:
    assert line(status(DEMO, Login(), gateway), "gateway") == sentence


def test_the_running_child() -> None:
    child = {"state": "ready", "pid": 9, "user_agent": "x/0.1.2 (y)", "restarts": 1}
    child |= {"running": 2, "waiting": 3}
    seen = status(DEMO, Login(), Running(7, ADDRESS, ready=True, child=child))
    assert line(seen, "child") == ("ready, pid 9, codex 0.1.2, restarts 1, running 2, waiting 3")


def test_versions_that_are_not_known() -> None:
    assert line(status(DEMO, Login()), "versions") == "gateway 1.0, codex ?"


def test_what_a_script_reads() -> None:
    gateway = Running(7, ADDRESS, ready=True, child={"pid": 9})
    found = status(OPENAI, Login(Account(CHATGPT), limits=(Limit("a", 1, None, None),)), gateway)
    assert found.for_json() == {
        "upstream": {"kind": OPENAI, "reason": "A reason.", "address": ""},
        "login": {
            "account": {"type": "chatgpt", "email": None, "plan": None},
            "problem": "",
            "limits": (
                {"name": "a", "used_percent": 1, "window_minutes": None, "resets_at": None},
            ),
            "limits_problem": "",
        },
        "versions": VERSIONS,
        "gateway": {
            "pid": 7,
            "address": ADDRESS,
            "ready": True,
            "reason": None,
            "health": None,
            "child": {"pid": 9},
            "versions": None,
            "account_limits": None,
        },
        "child_problem": "",
    }
