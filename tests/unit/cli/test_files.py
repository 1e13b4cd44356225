"""The checks of files and folders, on temporary ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.cli.checks import Level, files

MB = 1 << 20


@pytest.mark.parametrize(
    ("problems", "unknown", "level"),
    [
        ([], [], Level.OK),
        ([], ["PROXY_APIKEY"], Level.WARN),
        (["PORT must be a number."], [], Level.FAIL),
        (["PORT must be a number."], ["PROXY_APIKEY"], Level.FAIL),
    ],
)
def test_settings(problems: list[str], unknown: list[str], level: Level) -> None:
    result = files.settings(problems, unknown)
    assert result.level is level
    assert all(problem in result.sentence for problem in problems)


@pytest.mark.parametrize(
    ("mode", "level"),
    [(0o600, Level.OK), (0o400, Level.OK), (0o640, Level.WARN), (0o644, Level.WARN)],
)
def test_env_file(tmp_path: Path, mode: int, level: Level) -> None:
    path = tmp_path / "my .env"
    path.write_text("PROXY_API_KEY=x")
    path.chmod(mode)
    result = files.env_file(path)
    assert result.level is level
    if level is Level.WARN:
        assert result.remedy == f"chmod 600 '{path}'"


def test_no_env_file_is_fine(tmp_path: Path) -> None:
    assert files.env_file(tmp_path / ".env").level is Level.OK


GOOD_KEY = "q7Vd0m2XvK9sLw4Tz1Bn8RcJ"


@pytest.mark.parametrize(
    ("key", "level"),
    [
        (GOOD_KEY, Level.OK),
        (GOOD_KEY[1:], Level.WARN),
        ("k", Level.WARN),
        ("changeme-" + GOOD_KEY, Level.WARN),
    ],
)
def test_api_key(key: str, level: Level) -> None:
    result = files.api_key(key)
    assert result.level is level
    assert key not in result.sentence.removeprefix("PROXY_API_KEY")


def test_profile() -> None:
    assert files.profile("dev", []).sentence == "PROXY_ENV is dev."
    warned = files.profile("prod", [("LOG_LEVEL", "LOG_LEVEL is debug."), ("X", "X is y.")])
    assert (warned.level, warned.sentence) == (
        Level.WARN,
        "PROXY_ENV is prod. LOG_LEVEL is debug. X is y.",
    )


def test_a_home_of_ours_is_fine(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert files.home(tmp_path).level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_can_be_made_is_fine_and_is_not_made(tmp_path: Path) -> None:
    root = tmp_path / "new" / "home"
    assert files.home(root).level is Level.OK
    assert not root.parent.exists()


def test_a_home_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = files.home(tmp_path / "file" / "home")
    assert result.level is Level.FAIL
    assert result.remedy


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert files.home(tmp_path / "home").level is Level.FAIL


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_home_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    result = files.home(tmp_path)
    tmp_path.chmod(0o700)
    assert result.level is Level.FAIL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_another_user(tmp_path: Path) -> None:
    root = tmp_path / "home"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    assert "another user" in files.home(root).sentence


def test_an_open_home(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    result = files.home(tmp_path)
    assert result.level is Level.WARN
    assert result.remedy.startswith("chmod 700 ")


@pytest.mark.parametrize(
    ("free_mb", "level"),
    [(5000, Level.OK), (1024, Level.OK), (1023, Level.WARN), (64, Level.WARN), (63, Level.FAIL)],
)
def test_disk(tmp_path: Path, free_mb: int, level: Level) -> None:
    assert files.disk(tmp_path, free_mb * MB).level is level


def test_the_room_for_a_folder_that_does_not_exist_is_that_of_its_parent(tmp_path: Path) -> None:
    assert files.free_bytes(tmp_path / "new" / "home") > 0


def test_a_foreign_config(tmp_path: Path) -> None:
    assert files.foreign_config(tmp_path).level is Level.OK
    # A link that leads nowhere is in the way as well.
    (tmp_path / "config.toml").symlink_to("nowhere")
    result = files.foreign_config(tmp_path)
    assert result.level is Level.FAIL
    assert result.remedy.startswith("mv ")
