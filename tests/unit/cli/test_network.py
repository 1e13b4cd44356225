"""Where a connection has to lead, and what is said when it does not get there."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from app.cli.account import API_KEY, CHATGPT
from app.cli.checks import Level, network
from app.cli.checks.network import Target
from app.codex.config import Upstream, UpstreamKind

OPENAI = Upstream(UpstreamKind.OPENAI)


@pytest.mark.parametrize(
    ("upstream", "login", "expected"),
    [
        (OPENAI, API_KEY, ("https://api.openai.com",)),
        (OPENAI, CHATGPT, ("https://chatgpt.com", "https://auth.openai.com")),
        (Upstream(UpstreamKind.CONFIGURED, "http://up/v1"), CHATGPT, ("http://up/v1",)),
        (Upstream(UpstreamKind.DEMO), None, ()),
    ],
)
def test_addresses(upstream: Upstream, login: str | None, expected: tuple[str, ...]) -> None:
    assert network.addresses(upstream, login) == expected


def test_without_a_login_every_way_must_be_open() -> None:
    every = {each for known in (API_KEY, CHATGPT) for each in network.addresses(OPENAI, known)}
    assert set(network.addresses(OPENAI, None)) == every


@pytest.mark.parametrize(
    ("address", "proxies", "expected"),
    [
        ("https://up/v1", {}, ("up", 443, True)),
        ("http://up/v1", {}, ("up", 80, False)),
        ("https://up:8443/v1", {}, ("up", 8443, True)),
        ("http://[::1]:8080/v1", {}, ("::1", 8080, False)),
        ("https://up/v1", {"https": "http://proxy:3128"}, ("proxy", 3128, False)),
        ("https://up/v1", {"https": "proxy:3128"}, ("proxy", 3128, False)),
        ("https://up/v1", {"http": "http://proxy:3128"}, ("up", 443, True)),
        ("https://up/v1", {"all": "socks5://proxy"}, ("proxy", 1080, False)),
    ],
)
def test_target(address: str, proxies: dict[str, str], expected: tuple[str, int, bool]) -> None:
    to = network.target(address, proxies)
    assert (to.host, to.port, to.tls) == expected


def test_a_proxys_password_is_not_shown() -> None:
    to = network.target("https://up/v1", {"https": "http://me:hunter2@proxy:3128"})
    assert to.host == "proxy"
    assert "hunter2" not in to.shown


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def at(port: int, *, tls: bool = False) -> Target:
    return Target("127.0.0.1", port, tls, f"127.0.0.1:{port}")


def test_nothing_to_reach_is_fine() -> None:
    assert network.reachable([]).level is Level.OK


def test_a_listener_is_reached(listener: int) -> None:
    assert network.reachable([at(listener)]).level is Level.OK


def test_one_that_is_not_reached_is_named(listener: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        closed = sock.getsockname()[1]
    result = network.reachable([at(listener), at(closed)])
    assert result.level is Level.FAIL
    assert f"127.0.0.1:{closed}: Connection refused." in result.sentence
    assert "--offline" in result.remedy


def test_silence_has_a_limit(listener: int) -> None:
    """The kernel accepts, nobody answers the TLS greeting."""
    result = network.reachable([at(listener, tls=True)], timeout_s=0.05)
    assert result.level is Level.FAIL
    assert "no answer within 0.05 seconds" in result.sentence


def test_a_name_without_an_address() -> None:
    result = network.reachable([Target("no-such-host.invalid", 443, tls=True, shown="it")])
    assert result.level is Level.FAIL
