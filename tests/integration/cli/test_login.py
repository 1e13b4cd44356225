"""Logging in and out with the real binary: what is written, what is said, and what is never said."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.integration.cli.conftest import FakeCodex, Operator

SECRET = "sk-operator-secret-0123456789"


def log_in(operator: Operator) -> None:
    done = operator.types("login", "--api-key-stdin", given=SECRET + "\n")
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_a_key_from_standard_input_is_stored_closed_and_not_repeated(operator: Operator) -> None:
    log_in(operator)
    auth_file = operator.home / "auth.json"
    assert SECRET in auth_file.read_text()
    assert stat.S_IMODE(auth_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(operator.home.stat().st_mode) == 0o700
    elsewhere = [
        path
        for path in operator.home.rglob("*")
        if path.is_file() and path != auth_file and SECRET.encode() in path.read_bytes()
    ]
    assert elsewhere == []


def test_the_login_says_where_it_is_and_what_comes_next(operator: Operator) -> None:
    done = operator.types("login", "--api-key-stdin", given=SECRET)
    assert done.stdout.splitlines() == [
        f"The login is in {operator.home}/auth.json.",
        "No gateway runs with this CODEX_HOME; the next one that starts takes the change.",
    ]


def test_beside_an_upstream_of_ones_own_the_login_is_not_used(operator: Operator) -> None:
    url = "http://127.0.0.1:9/v1"
    done = operator.types("login", "--api-key-stdin", given=SECRET, CODEX_UPSTREAM_URL=url)
    assert done.stdout.splitlines()[1:] == [
        "It is not used as long as CODEX_UPSTREAM_URL is set.",
    ]


def test_no_key_on_standard_input_is_refused(operator: Operator) -> None:
    done = operator.types("login", "--api-key-stdin")
    assert done.returncode == 1
    assert "The login was refused: codex ended with exit code 1." in done.stderr
    assert not (operator.home / "auth.json").exists()


def test_a_refusal_has_the_exit_code_of_codex(operator: Operator, fake_codex: FakeCodex) -> None:
    done = operator.types("login", CODEX_BIN=str(fake_codex(login=7)))
    assert done.returncode == 7
    assert "exit code 7" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["login", SECRET],
        ["login", "--api-key-stdin", SECRET],
        ["login", "--", SECRET],
        ["login", f"--api-key={SECRET}"],
        ["login", f"--api-key-stdin={SECRET}"],
        ["login", f"--{SECRET}"],
        ["login", "--api-key", SECRET],
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(
    operator: Operator, arguments: list[str]
) -> None:
    done = operator.types(*arguments)
    assert done.returncode == 2
    assert SECRET not in done.stdout + done.stderr
    assert not operator.home.exists()


def test_logout_removes_the_login_and_the_demo_does_not_come_back(operator: Operator) -> None:
    log_in(operator)
    (operator.home / "gateway" / "login-seen").unlink()
    done = operator.types("logout")
    assert done.returncode == 0
    assert not (operator.home / "auth.json").exists()
    assert operator.json("status")["upstream"]["kind"] == "openai"


def test_logout_without_a_login_is_fine(operator: Operator) -> None:
    assert operator.types("logout").returncode == 0
    assert operator.json("status")["upstream"]["kind"] == "demo"


def test_a_home_that_cannot_be_used_is_a_sentence(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = operator.types("login", "--api-key-stdin", given=SECRET, CODEX_HOME=f"{tmp_path}/file/x")
    assert done.returncode == 1
    assert done.stderr.startswith("CODEX_HOME cannot be written to")


def test_a_foreign_config_is_a_sentence(operator: Operator) -> None:
    operator.home.mkdir()
    (operator.home / "config.toml").touch()
    for command in ("login", "logout", "models"):
        done = operator.types(command)
        assert done.returncode == 1
        assert "move that file away" in done.stderr
