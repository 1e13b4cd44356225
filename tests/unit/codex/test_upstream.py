"""Which upstream serves, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.upstream import choose_upstream
from app.settings import load_settings

URL = {"CODEX_UPSTREAM_URL": "https://up/v1"}
WITH_KEY = {**URL, "CODEX_UPSTREAM_API_KEY": "secret", "CODEX_UPSTREAM_WEBSOCKETS": "true"}
PROD = {"PROXY_ENV": "prod", "PROXY_API_KEY": "q7Vd0m2XvK9sLw4Tz1Bn8RcJ"}

KEYLESS = Upstream(UpstreamKind.CONFIGURED, "https://up/v1", websockets=None)
KEYED = Upstream(UpstreamKind.CONFIGURED, "https://up/v1", has_key=True, websockets=True)
OPENAI = Upstream(UpstreamKind.OPENAI, websockets=None)
HTTP_ALONE = Upstream(UpstreamKind.OPENAI, websockets=False)
DEMO = Upstream(UpstreamKind.DEMO)

LOGIN = "A login is, or once was, in CODEX_HOME."

CASES = [
    ({}, "nothing", DEMO, "No login was ever made"),
    ({"PROXY_ENV": "staging"}, "nothing", DEMO, "No login was ever made"),
    (PROD, "nothing", OPENAI, "PROXY_ENV is prod"),
    ({}, "login", OPENAI, LOGIN),
    ({}, "removed login", OPENAI, LOGIN),
    ({}, "useless login", OPENAI, "auth.json is no login: It holds neither"),
    (PROD, "login", OPENAI, LOGIN),
    (URL, "nothing", KEYLESS, "CODEX_UPSTREAM_URL is set."),
    (URL, "login", KEYLESS, "CODEX_UPSTREAM_URL is set."),
    ({**PROD, **URL}, "removed login", KEYLESS, "CODEX_UPSTREAM_URL is set."),
    (WITH_KEY, "nothing", KEYED, "CODEX_UPSTREAM_URL is set."),
    ({"CODEX_UPSTREAM_WEBSOCKETS": "false"}, "login", HTTP_ALONE, LOGIN),
    ({"CODEX_UPSTREAM_WEBSOCKETS": "true"}, "nothing", DEMO, "No login was ever made"),
]


@pytest.mark.parametrize(("variables", "found", "upstream", "reason"), CASES)
def test_the_choice(
    tmp_path: Path, variables: dict[str, str], found: str, upstream: Upstream, reason: str
) -> None:
    home = Home(tmp_path)
    if found == "login":
        home.auth_file.write_text('{"OPENAI_API_KEY": "sk-x"}')
    elif found == "useless login":
        home.auth_file.write_text("{}")
    elif found == "removed login":
        home.private.mkdir()
        home.login_marker.touch()
    before = list(tmp_path.rglob("*"))
    settings = {"PROXY_API_KEY": "k" * 32, "CODEX_HOME": str(tmp_path), **variables}
    choice = choose_upstream(load_settings(settings), home)
    assert (choice.upstream, choice.kind) == (upstream, upstream.kind)
    assert choice.reason.startswith(reason)
    assert list(tmp_path.rglob("*")) == before
