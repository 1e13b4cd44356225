"""Folders of processes: copies of what no turn has touched, and nothing that a killed worker leaves for ever."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.backends.per_request.folders import Folders


def make_databases(folder: Path) -> None:
    for name in ("state_5", "logs_2"):
        with closing(sqlite3.connect(folder / f"{name}.sqlite")) as database:
            database.execute("pragma journal_mode=wal")
            database.execute("create table logs (text)")
            database.commit()


def rows_after_an_insert(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        database.execute("insert into logs values ('x')")
        database.commit()
        return int(database.execute("select count(*) from logs").fetchone()[0])


def test_each_process_has_its_own_and_starts_from_the_pattern(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "turns")
    folders.open()
    first = folders.new()
    assert list(first.iterdir()) == []
    make_databases(first)
    folders.learn(first)
    folders.remove(first)
    assert folders.has_pattern
    second, third = folders.new(), folders.new()
    names = ["logs_2.sqlite", "state_5.sqlite"]
    assert sorted(path.name for path in second.iterdir()) == names
    assert rows_after_an_insert(second / "state_5.sqlite") == 1
    assert rows_after_an_insert(third / "state_5.sqlite") == 1
    assert rows_after_an_insert(third / "logs_2.sqlite") == 0
    folders.close()
    folders.close()
    assert list((tmp_path / "turns").iterdir()) == []


def test_what_cannot_be_a_pattern_is_none(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "turns")
    folders.open()
    first = folders.new()
    (first / "state_5.sqlite").write_bytes(b"no database at all" * 99)
    folders.learn(first)
    assert not folders.has_pattern
    assert list(folders.new().iterdir()) == []
    folders.close()


def test_only_what_nobody_holds_is_swept(tmp_path: Path) -> None:
    root = tmp_path / "turns"
    alive = Folders(root)
    alive.open()
    kept = alive.new()
    left = root / "4711-left"
    (left / "1").mkdir(parents=True)
    another = Folders(root)
    another.open()
    assert kept.is_dir()
    assert not left.exists()
    alive.close()
    another.close()


def test_a_home_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "turns")
    with pytest.raises(FileNotFoundError):
        folders.new()
    folders.open()
    folders.close()
    folders.open()
    assert folders.new().is_dir()
    folders.close()
