"""The machine's checks, each given the values that it judges."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.cli.checks import Level, machine


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 11, 0), Level.OK),
        ((3, 11, 15), Level.OK),
        ((3, 12, 1), Level.WARN),
        ((3, 10, 14), Level.FAIL),
        ((2, 7, 18), Level.FAIL),
    ],
)
def test_python(version: tuple[int, int, int], level: Level) -> None:
    result = machine.python_version(version)
    assert result.level is level
    assert ".".join(map(str, version)) in result.sentence


@pytest.mark.parametrize(
    ("limit", "level"),
    [
        (-1, Level.OK),
        (2256, Level.OK),
        (2255, Level.WARN),
        (1024, Level.WARN),
        (65536, Level.OK),
    ],
)
def test_open_files(limit: int, level: Level) -> None:
    result = machine.open_files(limit, 2000)
    assert result.level is level
    assert bool(result.remedy) is (level is Level.WARN)


def test_shared_memory(tmp_path: Path) -> None:
    assert machine.shared_memory(tmp_path).level is Level.OK
    missing = machine.shared_memory(tmp_path / "shm")
    assert missing.level is Level.WARN
    assert missing.remedy


def test_a_free_port_is_fine() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number = sock.getsockname()[1]
    assert machine.port("127.0.0.1", number, None).level is Level.OK


def test_port_zero_is_fine() -> None:
    assert machine.port("127.0.0.1", 0, None).level is Level.OK


def test_a_port_in_use_is_fine_only_if_it_is_ours() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        number = sock.getsockname()[1]
        others = machine.port("127.0.0.1", number, None)
        ours = machine.port("127.0.0.1", number, 4711)
    assert others.level is Level.FAIL
    assert str(number) in others.remedy
    assert ours.level is Level.OK
    assert "pid 4711" in ours.sentence


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours(host: str) -> None:
    result = machine.port(host, 11435, None)
    assert result.level is Level.FAIL
    assert "PROXY_HOST" in result.remedy
