import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.codex.home import Home, HomeRefused

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
OTHER = b"-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "codex-home")
    home.prepare()
    return home


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def printed(slug: str) -> bytes:
    return orjson.dumps({"models": [{"slug": slug, "base_instructions": "You are Codex."}]})


# Folders


def test_every_place_is_below_the_root() -> None:
    home = Home(Path("/srv/codex"))
    assert home.private == Path("/srv/codex/gateway")
    assert home.workspace == Path("/srv/codex/gateway/workspace")
    assert home.tmp == Path("/srv/codex/gateway/tmp")
    assert home.auth_file == Path("/srv/codex/auth.json")
    assert home.pid_file == Path("/srv/codex/gunicorn.pid")
    assert home.login_marker == Path("/srv/codex/gateway/login-seen")


def test_the_folders_are_closed_to_others(home: Home) -> None:
    for folder in (home.root, home.private, home.workspace, home.tmp):
        assert mode(folder) == 0o700
    assert list(home.workspace.iterdir()) == []


def test_a_root_that_was_open_is_closed(tmp_path: Path) -> None:
    root = tmp_path / "open"
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    Home(root).prepare()
    assert mode(root) == 0o700


def test_preparing_again_changes_nothing(home: Home) -> None:
    path = home.write_catalog(printed("m"))
    home.prepare()
    assert path.exists()


def test_a_foreign_configuration_is_refused_and_left_alone(home: Home) -> None:
    foreign = home.root / "config.toml"
    foreign.write_text("model = 'x'\n")
    with pytest.raises(HomeRefused, match="move that file away"):
        home.prepare()
    assert foreign.read_text() == "model = 'x'\n"


def test_a_refusal_is_an_error_of_the_disk_for_whoever_handles_those() -> None:
    assert issubclass(HomeRefused, OSError)


def test_a_root_that_is_a_file_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"):
        Home(tmp_path / "file").prepare()


# The login


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 30)


def linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


ENDLESS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "linked": linked_pipe,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "huge": huge,
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_login_without_an_end_is_none_and_nobody_waits_for_it(home: Home, kind: str) -> None:
    ENDLESS[kind](home.auth_file)
    assert "cannot be read" in home.read_login().problem
    assert not home.read_login().is_torn
    assert home.can_keep_login in (True, False)
    with pytest.raises(HomeRefused, match="would not come to its end"):
        home.check_login_ends()


@pytest.mark.parametrize(
    "make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("/dev/null")]
)
def test_any_other_is_for_codex_to_read(home: Home, make: Callable[[Path], None]) -> None:
    home.check_login_ends()
    make(home.auth_file)
    home.check_login_ends()
    assert not home.read_login().is_usable


def test_a_link_that_leads_nowhere_is_a_login_that_will_come(home: Home) -> None:
    home.auth_file.symlink_to("not-mounted-yet")
    assert home.is_login_known is True
    home.remember_login()
    home.auth_file.unlink()
    assert home.is_login_known is True


def test_without_a_login_there_was_none(home: Home) -> None:
    home.remember_login()
    assert home.is_login_known is False
    assert not home.login_marker.exists()


def test_a_login_is_remembered_after_it_is_gone(home: Home) -> None:
    home.auth_file.write_text("{}")
    assert home.is_login_known is True
    assert not home.login_marker.exists()
    home.remember_login()
    assert mode(home.login_marker) == 0o600
    home.auth_file.unlink()
    assert home.is_login_known is True


def test_before_the_folder_exists_there_was_no_login(tmp_path: Path) -> None:
    none = Home(tmp_path / "none")
    none.remember_login()
    assert none.is_login_known is False
    assert not (tmp_path / "none").exists()


# The catalog


def test_the_catalog_is_stored_stripped_and_closed_to_others(home: Home) -> None:
    path = home.write_catalog(printed("m"))
    assert orjson.loads(path.read_bytes()) == {"models": [{"slug": "m", "base_instructions": ""}]}
    assert path.parent == home.private
    assert mode(path) == 0o600


def test_the_same_catalog_has_the_same_name_and_is_written_once(home: Home) -> None:
    first = home.write_catalog(printed("m"))
    os.utime(first, (1, 1))
    assert home.write_catalog(printed("m")) == first
    assert first.stat().st_mtime == 1


@pytest.mark.parametrize("content", [b"", b"{", b'{"models":[]}'])
def test_a_catalog_that_is_damaged_on_disk_is_written_again(home: Home, content: bytes) -> None:
    path = home.write_catalog(printed("m"))
    whole = path.read_bytes()
    path.write_bytes(content)
    assert home.write_catalog(printed("m")) == path
    assert path.read_bytes() == whole


def test_another_catalog_has_another_name_and_leaves_the_first_alone(home: Home) -> None:
    first, second = home.write_catalog(printed("m")), home.write_catalog(printed("n"))
    assert first != second
    assert b'"m"' in first.read_bytes()
    assert b'"n"' in second.read_bytes()


def test_nothing_unfinished_stays_behind(home: Home) -> None:
    home.write_catalog(printed("m"))
    assert [path for path in home.private.iterdir() if path.suffix == ".part"] == []


def test_only_the_youngest_catalogs_are_kept(home: Home) -> None:
    paths = []
    for age in range(6):
        paths.append(home.write_catalog(printed(f"m{age}")))
        os.utime(paths[-1], (age, age))
    youngest = home.write_catalog(printed("m6"))
    assert set(home.private.glob("catalog-*.json")) == {*paths[-3:], youngest}


def test_the_catalog_in_use_is_kept_however_old_it_is(home: Home) -> None:
    current = home.write_catalog(printed("m"))
    os.utime(current, (1, 1))
    for age in range(2, 7):
        path = home.private / f"catalog-{age}.json"
        path.touch()
        os.utime(path, (age, age))
    assert home.write_catalog(printed("m")) == current
    assert current.exists()


@pytest.mark.parametrize("output", [b"", b"not json", b"{}", b'{"models":[]}'])
def test_a_catalog_that_is_none_is_refused_and_nothing_is_written(
    home: Home, output: bytes
) -> None:
    with pytest.raises(ValueError, match=r".+"):
        home.write_catalog(output)
    assert list(home.private.glob("catalog-*")) == []


# Certificates


@pytest.mark.parametrize(
    "bundle",
    [CERTIFICATE, CERTIFICATE + OTHER, b"# Subject: a root\n" + CERTIFICATE + b"\n# end\n" + OTHER],
)
def test_the_first_certificate_is_stored_alone(home: Home, tmp_path: Path, bundle: bytes) -> None:
    source = tmp_path / "bundle.pem"
    source.write_bytes(bundle)
    path = home.write_certificates(source)
    assert path.read_bytes() == CERTIFICATE
    assert path.name.startswith("no-roots-")
    assert home.write_certificates(source) == path


@pytest.mark.parametrize("bundle", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_bundle_without_a_whole_certificate_is_refused(
    home: Home, tmp_path: Path, bundle: bytes
) -> None:
    source = tmp_path / "bundle.pem"
    source.write_bytes(bundle)
    with pytest.raises(ValueError, match="not found"):
        home.write_certificates(source)


# codex's log database


def execute(home: Home, *statements: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home.root / "logs_2.sqlite")) as database:
        rows = [row for statement in statements for row in database.execute(statement)]
        database.commit()
    return rows


COUNT = "select count(*) from logs"


def test_a_log_that_is_silenced_takes_no_more_rows(home: Home) -> None:
    execute(
        home,
        "create table logs (id integer primary key, message text)",
        "insert into logs (message) values ('before')",
    )
    home.silence_log_database()
    assert execute(home, "insert into logs (message) values ('a prompt')", COUNT) == [(1,)]
    assert execute(home, "select message from logs") == [("before",)]


def test_silencing_twice_is_as_good_as_once(home: Home) -> None:
    execute(home, "create table logs (message text)")
    home.silence_log_database()
    home.silence_log_database()
    assert execute(home, "select name from sqlite_master where type = 'trigger'") == [
        ("gateway_keeps_no_log",)
    ]


def test_before_the_first_child_there_is_nothing_to_silence(home: Home) -> None:
    home.silence_log_database()
    assert not (home.root / "logs_2.sqlite").exists()


@pytest.mark.parametrize("content", [b"", b"this is no database at all" * 40])
def test_a_log_that_cannot_be_silenced_is_an_error_of_sqlite(home: Home, content: bytes) -> None:
    (home.root / "logs_2.sqlite").write_bytes(content)
    with pytest.raises(sqlite3.Error):
        home.silence_log_database()


def test_a_login_is_found_before_the_first_start(tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text("{}")
    home = Home(tmp_path)
    home.remember_login()
    assert home.login_marker.exists()
    assert home.is_login_known is True
