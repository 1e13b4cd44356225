"""The store where something is wrong: killed writers, damaged and removed files, a full disk, a lock that is held."""

from __future__ import annotations

import logging
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import gevent
import pytest

from app.answer_store.calls import Problem
from app.answer_store.look import look_at
from app.answer_store.sqlite_store import SqliteStore
from app.answer_store.stored_answer import Totals
from app.errors import StoreFailed
from tests.fakes.stored_answers import GB, MONTH_S, chained, stored, writer


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, event: str) -> list[dict[str, object]]:
        return [vars(record) for record in self.records if record.getMessage() == event]


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger, handler = logging.getLogger("codex_api.answer_store"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


MakeStore = Callable[[], SqliteStore]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "gateway"


@pytest.fixture
def make(folder: Path) -> Iterator[MakeStore]:
    made: list[SqliteStore] = []

    def make() -> SqliteStore:
        made.append(SqliteStore(folder, GB, MONTH_S))
        return made[-1]

    yield make
    for store in made:
        store.close()


def acknowledged(process: subprocess.Popen[bytes], most: int) -> list[str]:
    """Return so many of the lines that a writer has written."""
    assert process.stdout is not None
    return [process.stdout.readline().decode().strip() for _ in range(most)]


def damage(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"\xde\xad" * (file.stat().st_size // 2))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix == ".sqlite"}


# Processes


def test_two_processes_write_to_one_file_and_are_killed_in_the_middle(
    make: MakeStore, folder: Path
) -> None:
    with writer(folder, "one") as one, writer(folder, "two") as two:
        lines = [acknowledged(process, 200) for process in (one, two)]
        for process in (one, two):
            process.send_signal(signal.SIGKILL)
        # What was written between the last look and the end was acknowledged, too.
        for process, known in zip((one, two), lines, strict=True):
            known.extend(process.communicate()[0].decode().splitlines())
    store = make()
    for stem, known in zip(("one", "two"), lines, strict=True):
        assert known == [str(n) for n in range(len(known))]  # none had to fail
        assert store.get("ann", f"{stem}_{known[-1]}") is not None
        number = min(int(known[-1]), 500)  # a fast disk has taken more than a chain may have
        found = store.chain("ann", f"{stem}_{number}")
        assert found is not None
        assert [answer.id for answer in found] == [f"{stem}_{n}" for n in range(number + 1)]
        assert all(len(answer.made) == 20_000 for answer in found)
    assert names(folder) == {"answers-1.sqlite"}
    with closing(sqlite3.connect(folder / "answers-1.sqlite")) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_killed_writer_holds_nobody_up_and_the_next_one_goes_on(
    make: MakeStore, folder: Path
) -> None:
    store = make()
    for round_ in range(3):
        with writer(folder, f"round{round_}") as process:
            acknowledged(process, 5 + round_)
            store.put(stored(f"mine_{round_}"))
            process.kill()
        assert store.get("ann", f"round{round_}_4") is not None
    assert [store.get("ann", f"mine_{n}") is not None for n in range(3)] == [True] * 3


def test_no_file_is_ever_open_to_others(make: MakeStore, folder: Path) -> None:
    with writer(folder, "one") as process:  # with a umask that hides nothing
        acknowledged(process, 2)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {f"answers-1.sqlite{suffix}": 0o600 for suffix in ("", "-wal", "-shm")}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "answers-1.sqlite").chmod(0o644)  # restored from a backup, perhaps
    assert make().get("ann", "one_0") is not None
    assert stat.S_IMODE((folder / "answers-1.sqlite").stat().st_mode) == 0o600


# Files


def test_a_damaged_file_is_left_and_another_begun(
    make: MakeStore, folder: Path, lines: Lines
) -> None:
    store = make()
    store.put(stored("lost"))
    store.close()
    damage(folder / "answers-1.sqlite")
    damaged = (folder / "answers-1.sqlite").read_bytes()
    again = make()
    assert again.get("ann", "lost") is None
    again.put(stored("new"))
    assert again.get("ann", "new") == stored("new")
    assert names(folder) == {"answers-1.sqlite", "answers-2.sqlite"}
    assert (folder / "answers-1.sqlite").read_bytes() == damaged
    (line,) = lines.of("answer_store_damaged")
    assert (line["levelname"], line["file"]) == ("ERROR", "answers-1.sqlite")
    assert lines.of("answer_store_failed") == []


def test_a_file_that_is_damaged_under_two_workers_is_followed_by_one(
    make: MakeStore, folder: Path, lines: Lines
) -> None:
    one, two = make(), make()
    for answer in chained(200, size=5_000):
        one.put(answer)
    assert two.get("ann", "resp_5") is not None
    one.close()
    with closing(sqlite3.connect(folder / "answers-1.sqlite")) as database:
        database.execute("pragma wal_checkpoint(truncate)")
    damage(folder / "answers-1.sqlite")
    again = make()
    again.put(stored("of_one"))
    two.put(stored("of_two"))
    assert names(folder) == {"answers-1.sqlite", "answers-2.sqlite"}
    assert again.get("ann", "of_two") == stored("of_two")
    assert two.get("ann", "of_one") == stored("of_one")
    two.close()  # which must not take the files of the new one with it
    again.put(stored("later"))
    assert make().get("ann", "later") == stored("later")
    assert len(lines.of("answer_store_damaged")) == 1


def test_every_call_looks_whether_another_worker_has_begun_a_new_file(
    make: MakeStore, folder: Path
) -> None:
    one = make()
    one.put(stored("before"))
    (folder / "answers-2.sqlite").touch(mode=0o600)  # as the other does where it finds damage
    one.put(stored("after"))
    assert make().get("ann", "after") == stored("after")
    assert one.get("ann", "before") is None


def test_only_the_last_damaged_file_stays_and_that_for_its_time(folder: Path) -> None:
    now = [time.time()]
    for number in range(1, 4):
        store = SqliteStore(folder, GB, MONTH_S, clock=lambda: now[0])
        store.put(stored("x"))
        store.close()
        damage(folder / f"answers-{number}.sqlite")
    store = SqliteStore(folder, GB, MONTH_S, clock=lambda: now[0])
    store.put(stored("x"))
    store.sweep()
    assert names(folder) == {"answers-3.sqlite", "answers-4.sqlite"}
    now[0] += MONTH_S + 60
    store.sweep()
    assert names(folder) == {"answers-4.sqlite"}
    store.close()


def test_a_file_that_somebody_removes_is_followed_by_another(make: MakeStore, folder: Path) -> None:
    one, two = make(), make()
    one.put(stored("gone"))
    assert two.get("ann", "gone") is not None
    (folder / "answers-1.sqlite").unlink()
    assert one.get("ann", "gone") is None
    two.put(stored("new"))
    assert one.get("ann", "new") == stored("new")
    assert names(folder) == {"answers-2.sqlite"}


def test_what_is_no_database_is_left_alone(make: MakeStore, folder: Path) -> None:
    folder.mkdir()
    (folder / "answers-1.sqlite").write_text("This is no database, but somebody's words. " * 200)
    store = make()
    store.put(stored("x"))
    assert names(folder) == {"answers-1.sqlite", "answers-2.sqlite"}
    assert "somebody's words" in (folder / "answers-1.sqlite").read_text()


def test_other_files_of_the_folder_are_no_business_of_the_store(
    make: MakeStore, folder: Path
) -> None:
    folder.mkdir()
    others = {"answers-x.sqlite", "answers-1.sqlite.copy", "answers.sqlite"}
    for name in others:
        (folder / name).touch()
    store = make()
    store.put(stored("x"))
    store.sweep()
    store.close()
    assert {path.name for path in folder.iterdir()} == {*others, "answers-1.sqlite"}


# A disk, or a program, that refuses


def test_a_full_disk_costs_what_is_new_and_nothing_else(make: MakeStore, folder: Path) -> None:
    with writer(folder, "one", most_file_bytes=1_500_000) as process:
        told = acknowledged(process, 100)
        assert process.poll() is None
    kept = [line for line in told if line.isdigit()]
    failed = [line for line in told if not line.isdigit()]
    assert set(failed) <= {"failed disk_full", "failed io_error"}
    assert len(kept) > 5
    assert len(failed) > 5
    store = make()
    assert all(store.get("ann", f"one_{number}") for number in kept)
    before = len(told[: told.index(failed[0])])
    assert len(store.chain("ann", f"one_{before - 1}") or ()) == before
    store.put(stored("with_room"))
    assert names(folder) == {"answers-1.sqlite"}


def test_a_folder_that_cannot_be_had_is_said(make: MakeStore, folder: Path, lines: Lines) -> None:
    folder.write_text("a file in its place")
    store = make()
    for _ in range(30):
        with pytest.raises(StoreFailed):
            store.put(stored("x"))
    with pytest.raises(StoreFailed):
        store.get("ann", "x")
    problems = [store.problem]
    said = lines.of("answer_store_failed")
    assert len(said) == 10  # of a kind in a minute
    assert (said[0]["call"], said[0]["reason"], said[0]["detail"]) == (
        "put",
        "not_opened",
        "Not a directory",
    )
    folder.unlink()
    store.put(stored("x"))
    problems.append(store.problem)
    assert problems == ["not_opened", None]
    assert len(lines.of("answer_store_back")) == 1


def test_a_file_that_another_program_holds_is_read_and_not_written(
    make: MakeStore, folder: Path, lines: Lines
) -> None:
    store = make()
    store.put(stored("before"))
    other = sqlite3.connect(folder / "answers-1.sqlite", isolation_level=None)
    with closing(other):
        other.execute("begin immediate")
        line = [gevent.spawn(put_refused, store, f"x{number}") for number in range(20)]
        gevent.joinall(line)
        assert [one.value for one in line] == [True] * 20  # the others did not wait in vain
        assert store.problem == "locked"
        assert store.get("ann", "before") == stored("before")
        assert store.chain("ann", "before") == (stored("before"),)
        other.execute("rollback")
    assert {said["reason"] for said in lines.of("answer_store_failed")} == {"locked"}
    with gevent.Timeout(30):
        while put_refused(store, "after"):
            gevent.sleep(0.05)
    assert store.get("ann", "after") == stored("after")


def put_refused(store: SqliteStore, id_: str) -> bool:
    try:
        store.put(stored(id_))
    except StoreFailed:
        return True
    return False


# From outside


def test_a_look_from_outside_changes_nothing(make: MakeStore, folder: Path) -> None:
    assert look_at("sqlite", folder) is None
    assert not folder.exists()
    store = make()
    store.put(stored("x"))
    assert look_at("sqlite", folder) == Totals(1, stored("x").cost)
    store.close()
    assert look_at("sqlite", folder) == Totals(1, stored("x").cost)
    damage(folder / "answers-1.sqlite")
    with pytest.raises(Problem, match="not_opened"):
        look_at("sqlite", folder)
    assert names(folder) == {"answers-1.sqlite"}
