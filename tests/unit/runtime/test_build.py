"""The services of a worker, as far as the choice of the upstream goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.backends.app_server.backend import AppServerBackend
from app.backends.per_request.backend import PerRequestBackend
from app.backends.per_request.proto.dialect import ProtoDialect
from app.codex.home import Home
from app.runtime.build import build_worker_services
from app.settings import load_settings

PROD = {"PROXY_ENV": "prod", "PROXY_API_KEY": "q7Vd0m2XvK9sLw4Tz1Bn8RcJ"}
URL = {"CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1"}


@pytest.mark.parametrize(
    ("variables", "has_login", "is_remembered"),
    [
        ({}, False, False),
        ({}, True, True),
        (PROD, True, False),
        (URL, True, False),
    ],
)
def test_a_login_that_serves_is_remembered(
    tmp_path: Path, variables: dict[str, str], has_login: bool, is_remembered: bool
) -> None:
    home = Home(tmp_path)
    if has_login:
        home.auth_file.write_text("{}")
    settings = {"PROXY_API_KEY": "k" * 32, "CODEX_HOME": str(tmp_path), **variables}
    services = build_worker_services(load_settings(settings))
    try:
        assert home.login_marker.exists() is is_remembered
    finally:
        services.stop()


@pytest.mark.parametrize(("flag", "backend"), [("true", "app_server"), ("false", "per_request")])
def test_the_flag_chooses_the_backend(tmp_path: Path, flag: str, backend: str) -> None:
    settings = {"PROXY_API_KEY": "k" * 32, "CODEX_HOME": str(tmp_path), **URL}
    services = build_worker_services(load_settings({**settings, "PROXY_USE_APP_SERVER": flag}))
    try:
        assert services.backend.kind == backend
    finally:
        services.stop()


API = {"CODEX_UPSTREAM_URL": "https://api.openai.com/v1"}


@pytest.mark.parametrize(
    ("variables", "hosts"),
    [
        (PROD, ["api.openai.com", "chatgpt.com", "auth.openai.com"]),
        (API, ["api.openai.com"]),
        ({**API, "CODEX_FEW_ROOTS": "false"}, None),
        (URL, None),
        ({"CODEX_UPSTREAM_URL": "https://llm.example.com/v1"}, None),
        ({}, None),  # the demo
    ],
)
def test_few_roots_are_for_openai_s_hosts_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    hosts: list[str] | None,
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    settings = {"PROXY_API_KEY": "k" * 32, "CODEX_HOME": str(tmp_path), **variables}
    services = build_worker_services(load_settings(settings))
    try:
        assert isinstance(services.backend, AppServerBackend)
        roots = services.backend.launcher.few_roots
        assert (roots and [host for host, _ in roots.hosts]) == hosts
    finally:
        services.stop()


def test_who_says_what_to_trust_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/roots.pem")
    settings = {"PROXY_API_KEY": "k" * 32, "CODEX_HOME": str(tmp_path), **API}
    services = build_worker_services(load_settings(settings))
    try:
        assert isinstance(services.backend, AppServerBackend)
        assert services.backend.launcher.few_roots is None
    finally:
        services.stop()


def test_the_dialect_is_chosen_by_its_own_setting(tmp_path: Path) -> None:
    settings = {
        **URL,
        "PROXY_API_KEY": "k" * 32,
        "CODEX_HOME": str(tmp_path),
        "PROXY_USE_APP_SERVER": "false",
        "WORKER_PER_REQUEST_DIALECT": "proto",
        "CODEX_BIN": "/opt/codex",
    }
    services = build_worker_services(load_settings(settings))
    try:
        assert isinstance(services.backend, PerRequestBackend)
        assert isinstance(services.backend.starter.dialect, ProtoDialect)
    finally:
        services.stop()
