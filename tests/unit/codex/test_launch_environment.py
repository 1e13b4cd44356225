import os
from pathlib import Path

import pytest

from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import CHILD_MEMORY, CHILD_THREADS, Launcher

OPENAI = Upstream(UpstreamKind.OPENAI)
KEYED = Upstream(UpstreamKind.CONFIGURED, "https://host/v1", has_key=True)
KEYLESS = Upstream(UpstreamKind.CONFIGURED, "https://host/v1")
DEMO = Upstream(UpstreamKind.DEMO, "http://127.0.0.1:8080/v1")

ALWAYS = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/srv/codex",
    "CODEX_HOME": "/srv/codex",
    "TMPDIR": "/srv/codex/gateway/tmp",
    "TOKIO_WORKER_THREADS": str(max(CHILD_THREADS, os.cpu_count() or 1)),
    "_RJEM_MALLOC_CONF": CHILD_MEMORY,
}
PASSED_ON = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "SSL_CERT_FILE": "/etc/roots.pem",
    "SSL_CERT_DIR": "/etc/roots",
}
PROXIES = {
    "HTTP_PROXY": "http://proxy:1",
    "HTTPS_PROXY": "http://proxy:2",
    "ALL_PROXY": "http://proxy:3",
    "NO_PROXY": "localhost",
    "http_proxy": "http://proxy:4",
    "https_proxy": "http://proxy:5",
    "all_proxy": "http://proxy:6",
    "no_proxy": "127.0.0.1",
}
KEPT_OUT = dict.fromkeys(
    [
        "PROXY_API_KEY",
        "PROXY_API_KEYS",
        "PROXY_ADMIN_KEY",
        "CODEX_UPSTREAM_API_KEY",
        "CODEX_BIN",
        "OPENAI_API_KEY",
        "CODEX_API_KEY",
        "GATEWAY_UPSTREAM_KEY",
        "WORKER_MAX_CONCURRENCY",
        "AWS_SECRET_ACCESS_KEY",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "SSH_AUTH_SOCK",
        "USER",
        "TERM",
        "RUST_LOG",
        "lang",
    ],
    "canary",
)
REPLACED = {
    "PATH": "/evil",
    "HOME": "/root",
    "CODEX_HOME": "/elsewhere",
    "TMPDIR": "/tmp",  # noqa: S108
    "TOKIO_WORKER_THREADS": "1",
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:-1",
}
OURS = PASSED_ON | PROXIES | KEPT_OUT | REPLACED


def environment(upstream: Upstream, ours: dict[str, str]) -> dict[str, str]:
    launcher = Launcher(
        Home(Path("/srv/codex")), Path("/opt/codex"), upstream, "sk-upstream", 300_000
    )
    return launcher.environment(ours)


KEY = {"GATEWAY_UPSTREAM_KEY": "sk-upstream"}


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        (OPENAI, ALWAYS | PASSED_ON | PROXIES),
        (KEYED, ALWAYS | PASSED_ON | PROXIES | KEY),
        (KEYLESS, ALWAYS | PASSED_ON | PROXIES),
        (DEMO, ALWAYS | PASSED_ON),
    ],
)
def test_the_child_gets_what_is_allowed_and_nothing_else(
    upstream: Upstream, expected: dict[str, str]
) -> None:
    assert environment(upstream, OURS) == expected


@pytest.mark.parametrize("upstream", [OPENAI, KEYLESS, DEMO])
def test_what_we_do_not_have_is_not_invented(upstream: Upstream) -> None:
    assert environment(upstream, {}) == ALWAYS


@pytest.mark.parametrize("upstream", [OPENAI, KEYED, KEYLESS, DEMO])
def test_no_variable_of_the_gateway_reaches_the_child(upstream: Upstream) -> None:
    child = environment(upstream, OURS)
    assert "canary" not in child.values()
    assert not any(name.startswith(("PROXY_", "WORKER_")) for name in child)


def test_certificates_are_those_of_the_setting_which_may_be_in_the_file() -> None:
    ca = Path("/etc/ca.pem")
    home, binary = Home(Path("/srv/codex")), Path("/opt/codex")
    launcher = Launcher(home, binary, KEYLESS, "", 300_000, ca_certificate=ca)
    expected = ALWAYS | {"CODEX_CA_CERTIFICATE": "/etc/ca.pem"}
    assert launcher.environment({"CODEX_CA_CERTIFICATE": "relative.pem"}) == expected


def test_our_own_environment_is_left_alone() -> None:
    ours = dict(OURS)
    environment(KEYED, ours)
    assert ours == OURS
