"""Which upstream the commands say serves is the one that the application uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import create_app
from app.backends.app_server.backend import AppServerBackend
from app.cli import upstream
from app.codex.config import UpstreamKind
from app.codex.home import Home
from app.settings import Settings, load_settings


def settings_of(home: Path, **more: str) -> Settings:
    return load_settings({"PROXY_API_KEY": "k" * 32, "CODEX_HOME": str(home), **more})


CASES = [
    ({}, "nothing", UpstreamKind.DEMO),
    ({}, "login", UpstreamKind.OPENAI),
    ({}, "removed login", UpstreamKind.OPENAI),
    ({"PROXY_ENV": "staging"}, "nothing", UpstreamKind.DEMO),
    ({"CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1"}, "nothing", UpstreamKind.CONFIGURED),
    ({"CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1"}, "login", UpstreamKind.CONFIGURED),
]


@pytest.mark.parametrize(("variables", "found", "kind"), CASES)
def test_the_choice_is_the_applications(
    tmp_path: Path, variables: dict[str, str], found: str, kind: UpstreamKind
) -> None:
    home = Home(tmp_path)
    home.prepare()
    if found == "login":
        home.auth_file.write_text("{}")
    elif found == "removed login":
        home.login_marker.touch()
    settings = settings_of(tmp_path, **variables)
    choice = upstream.choose(settings, login_known=upstream.is_login_known(home))
    assert choice.kind is kind
    assert choice.reason
    extensions = create_app(settings).extensions
    codex: AppServerBackend = extensions["codex"]
    assert codex.upstream is kind
    extensions["gateway"].stop()


def test_production_never_shows_the_demo(tmp_path: Path) -> None:
    """Settings of production need more than is said here, so only the decision is looked at."""
    choice = upstream.choose(production(tmp_path), login_known=False)
    assert choice.kind is UpstreamKind.OPENAI
    assert "prod" in choice.reason


def production(home: Path) -> Settings:
    settings = settings_of(home)
    object.__setattr__(settings, "env", "prod")
    return settings


def test_looking_leaves_no_mark(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.auth_file.write_text("{}")
    assert upstream.is_login_known(home)
    assert not home.private.exists()


def test_a_handshake_is_given_no_key(tmp_path: Path) -> None:
    for more in ({}, {"CODEX_UPSTREAM_URL": "https://up/v1", "CODEX_UPSTREAM_API_KEY": "secret"}):
        settings = settings_of(tmp_path, **more)
        for known in (True, False):
            choice = upstream.choose(settings, login_known=known)
            assert not upstream.for_handshake(settings, choice).has_key
