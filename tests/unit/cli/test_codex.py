"""The checks of the binary and the login: what each finding means for the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.account import API_KEY, CHATGPT, Account, Login
from app.cli.checks import Level, codex
from app.codex.config import UpstreamKind

OPENAI, CUSTOM, DEMO = UpstreamKind.OPENAI, UpstreamKind.CONFIGURED, UpstreamKind.DEMO
CHAT = Account(CHATGPT, "ann@example.com", "pro")


def test_a_binary_that_is_one(tmp_path: Path) -> None:
    path = tmp_path / "codex"
    assert codex.binary(None).level is Level.FAIL
    assert codex.binary(path).level is Level.FAIL
    assert codex.binary(tmp_path).level is Level.FAIL
    path.touch(0o644)
    assert codex.binary(path).remedy == f"chmod +x {path}"
    path.chmod(0o755)
    assert codex.binary(path).level is Level.OK


@pytest.mark.parametrize(
    ("printed", "level"),
    [
        ("codex-cli 0.163.0", Level.OK),
        ("0.163.0", Level.OK),
        ("codex-cli 0.163.1", Level.WARN),
        ("", Level.WARN),
        (None, Level.FAIL),
    ],
)
def test_version(printed: str | None, level: Level) -> None:
    assert codex.version(printed, "0.163.0").level is level


@pytest.mark.parametrize(
    ("found", "kind", "level"),
    [
        (Login(Account(API_KEY)), OPENAI, Level.OK),
        (Login(CHAT), OPENAI, Level.OK),
        (Login(), OPENAI, Level.FAIL),
        (Login(), DEMO, Level.WARN),
        (Login(), CUSTOM, Level.OK),
        (Login(problem="no network."), CUSTOM, Level.OK),
        (Login(problem="no network."), OPENAI, Level.FAIL),
        (Login(CHAT, limits_problem="error sending request."), OPENAI, Level.WARN),
        (Login(CHAT, limits_problem="status 401 Unauthorized."), OPENAI, Level.FAIL),
        (Login(CHAT, limits_problem="Your refresh token was revoked."), OPENAI, Level.FAIL),
        (Login(CHAT, limits_problem="status 401 Unauthorized."), CUSTOM, Level.OK),
    ],
)
def test_login(found: Login, kind: UpstreamKind, level: Level) -> None:
    result = codex.login(found, kind)
    assert result.level is level
    if level is not Level.OK:
        assert "codex login" in result.remedy


@pytest.mark.parametrize(
    ("stored", "kind", "level"),
    [
        (None, OPENAI, Level.FAIL),
        (None, DEMO, Level.WARN),
        (None, CUSTOM, Level.OK),
        (CHATGPT, OPENAI, Level.SKIP),
    ],
)
def test_login_from_its_file_alone(stored: str | None, kind: UpstreamKind, level: Level) -> None:
    assert codex.login_offline(stored, kind).level is level
