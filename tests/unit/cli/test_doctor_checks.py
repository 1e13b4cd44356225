"""The doctor's checks, each given what it judges: values, temporary folders, sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import responses

from app.cli import doctor_checks as checks
from app.cli.account import API_KEY, CHATGPT, Account, Login
from app.cli.checks import Level, Result
from app.cli.running_gateway import Running
from app.codex.config import Upstream, UpstreamKind
from app.settings import OTHER_DESCRIPTORS, descriptors

OPENAI, DEMO = UpstreamKind.OPENAI, UpstreamKind.DEMO
CHAT = Account(CHATGPT, "ann@example.com", "pro")
MB = 1 << 20


@pytest.mark.parametrize(
    ("limit", "level"),
    [
        (-1, Level.OK),
        (2256, Level.OK),
        (2255, Level.WARN),
        (1024, Level.WARN),
        (96, Level.WARN),
        (95, Level.FAIL),
        (0, Level.FAIL),
        (65536, Level.OK),
    ],
)
def test_open_files(limit: int, level: Level) -> None:
    result = checks.open_files(limit, 2000)
    assert result.level is level
    assert ("LimitNOFILE=2256" in result.remedy) is (level is not Level.OK)


def test_where_the_start_is_refused_the_doctor_says_the_same() -> None:
    with pytest.raises(descriptors.TooFew) as refused:
        descriptors.plan(2000, OTHER_DESCRIPTORS, soft=95, hard=95)
    result = checks.open_files(95, 2000)
    assert f"{result.sentence} {result.remedy}" == str(refused.value)


# CODEX_HOME


def test_a_home_of_ours_is_fine(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert checks.home(tmp_path).level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_can_be_made_is_fine_and_is_not_made(tmp_path: Path) -> None:
    root = tmp_path / "new" / "home"
    assert checks.home(root).level is Level.OK
    assert not root.parent.exists()


@pytest.mark.parametrize("below", ["", "home"])
def test_a_home_that_is_a_file_or_below_one(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    result = checks.home(tmp_path / "file" / below)
    assert result.level is Level.FAIL
    assert result.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_home_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    result = checks.home(tmp_path)
    tmp_path.chmod(0o700)
    assert result.level is Level.FAIL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_another_user(tmp_path: Path) -> None:
    root = tmp_path / "home"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    assert "another user" in checks.home(root).sentence


def test_an_open_home(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    result = checks.home(tmp_path)
    assert result.level is Level.WARN
    assert result.remedy.startswith("chmod 700 ")


def test_a_foreign_config(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    # A link that leads nowhere is in the way as well.
    (tmp_path / "config.toml").symlink_to("nowhere")
    result = checks.home(tmp_path)
    assert result.level is Level.FAIL
    assert "config.toml" in result.sentence


@pytest.mark.parametrize(
    ("free_mb", "level"),
    [(5000, Level.OK), (1024, Level.OK), (1023, Level.WARN), (64, Level.WARN), (63, Level.FAIL)],
)
def test_disk(tmp_path: Path, free_mb: int, level: Level) -> None:
    assert checks.disk(tmp_path, free_mb * MB).level is level


def test_the_room_for_a_folder_that_does_not_exist_is_that_of_its_parent(tmp_path: Path) -> None:
    assert " 0 MB" not in f" {checks.disk(tmp_path / 'new' / 'home').sentence}"


# The login


@pytest.mark.parametrize(
    ("found", "kind", "level"),
    [
        (Login(Account(API_KEY)), OPENAI, Level.OK),
        (Login(CHAT), OPENAI, Level.OK),
        (Login(), OPENAI, Level.FAIL),
        (Login(), DEMO, Level.WARN),
        (Login(problem="no network."), OPENAI, Level.FAIL),
        (Login(CHAT, limits_problem="error sending request."), OPENAI, Level.WARN),
        (Login(CHAT, limits_problem="status 401 Unauthorized."), OPENAI, Level.FAIL),
        (Login(CHAT, limits_problem="Your refresh token was revoked."), OPENAI, Level.FAIL),
    ],
)
def test_login(found: Login, kind: UpstreamKind, level: Level) -> None:
    result = checks.login(found, kind)
    assert result.level is level
    if level is not Level.OK:
        assert "codex login" in result.remedy


# The way to the upstream


@pytest.mark.parametrize(
    ("upstream", "login", "expected"),
    [
        (Upstream(OPENAI), API_KEY, ("https://api.openai.com",)),
        (Upstream(OPENAI), CHATGPT, ("https://chatgpt.com", "https://auth.openai.com")),
        (Upstream(UpstreamKind.CONFIGURED, "http://up/v1"), CHATGPT, ("http://up/v1",)),
        (Upstream(DEMO), None, ()),
    ],
)
def test_addresses(upstream: Upstream, login: str | None, expected: tuple[str, ...]) -> None:
    assert checks.addresses(upstream, login) == expected


def test_without_a_login_every_way_must_be_open() -> None:
    openai = Upstream(OPENAI)
    every = {each for known in (API_KEY, CHATGPT) for each in checks.addresses(openai, known)}
    assert set(checks.addresses(openai, None)) == every


def test_nothing_to_reach_is_fine() -> None:
    assert checks.reachable([]).level is Level.OK


@responses.activate
@pytest.mark.parametrize("status", [200, 302, 401, 404, 503])
def test_any_answer_will_do_and_no_redirect_is_followed(status: int) -> None:
    responses.add(responses.HEAD, "https://up/v1", status=status, headers={"Location": "/x"})
    assert checks.reachable(["https://up/v1"]).sentence == "Reached https://up/v1."
    (call,) = responses.calls
    assert "Authorization" not in call.request.headers


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a listener whose kernel accepts, and of which nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_silence_has_a_limit(silent: str, scheme: str) -> None:
    result = checks.reachable([f"{scheme}://{silent}"], timeout_s=0.05)
    assert result.level is Level.FAIL
    assert "imeout" in result.sentence


def test_one_that_is_not_reached_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        closed = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    result = checks.reachable([closed])
    assert result.level is Level.FAIL
    assert result.sentence == (
        f"{closed}: refused. Its address refused the connection (Connection refused)."
    )
    assert "--offline" in result.remedy


def test_a_name_without_an_address() -> None:
    assert checks.reachable(["https://no-such-host.invalid"]).level is Level.FAIL


def test_a_proxys_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        place = f"127.0.0.1:{sock.getsockname()[1]}"
    monkeypatch.setenv("https_proxy", f"http://me:hunter2@{place}")
    result = checks.reachable(["https://up.invalid/v1"])
    assert result.level is Level.FAIL
    assert result.sentence == (
        "https://up.invalid/v1: proxy. The proxy in between did not let the request through (Connection refused)."
    )


def test_a_way_through_socks_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    assert checks.reachable(["https://up.invalid/v1"]).level is Level.SKIP


@responses.activate
def test_a_proxy_that_is_no_address_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    responses.add(responses.HEAD, "https://up/v1")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@[::1")
    result = checks.reachable(["https://up/v1"])
    assert result.level is Level.WARN
    assert "HTTPS_PROXY: no address of a proxy" in result.sentence
    assert "hunter2" not in result.sentence


# Beside a running gateway

FAILURE = {"at": "2026-12-01T10:00:00Z", "cause": "proxy", "detail": "…"}


def running(reason: str | None = None, **child: object) -> Running:
    return Running(1, reason=reason, child=child)


def test_the_child_of_a_running_gateway() -> None:
    assert checks.child_of(running(state="ready", pid=7), "0.163.0").level is Level.OK
    last = {"reason": "handshake_failed", "detail": "it said: Error: no."}
    result = checks.child_of(running("degraded", state="backing_off", last_exit=last), "?")
    assert (result.level, "it said: Error: no." in result.sentence) == (Level.FAIL, True)
    assert "starting" in checks.child_of(running("starting", state="starting"), "?").sentence


def test_a_login_that_a_running_gateway_uses() -> None:
    assert checks.login_in_use(running()).level is Level.OK
    assert checks.login_in_use(running("upstream_auth")).level is Level.FAIL


def test_what_the_gateway_does_not_reach_is_told_although_the_shell_does() -> None:
    fine = Result("", Level.OK, "Reached x.")
    assert checks.as_the_gateway_sees_it(fine, running(last_upstream_failure=None)) is fine
    result = checks.as_the_gateway_sees_it(fine, running(last_upstream_failure=FAILURE))
    assert (result.level, "proxy" in result.sentence) == (Level.WARN, True)


# The port


def test_a_free_port_is_fine() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number = sock.getsockname()[1]
    assert checks.port("127.0.0.1", number, None).level is Level.OK


def test_port_zero_is_fine() -> None:
    assert checks.port("127.0.0.1", 0, None).level is Level.OK


def test_a_port_in_use_is_fine_only_if_it_is_ours() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        number = sock.getsockname()[1]
        others = checks.port("127.0.0.1", number, None)
        ours = checks.port("127.0.0.1", number, 4711)
    assert others.level is Level.FAIL
    assert str(number) in others.remedy
    assert ours.level is Level.OK
    assert "pid 4711" in ours.sentence


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours(host: str) -> None:
    result = checks.port(host, 11435, None)
    assert result.level is Level.FAIL
    assert "PROXY_HOST" in result.remedy
