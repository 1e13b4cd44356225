"""The folder of the trace buffer: what is written, listed, found, and removed."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.observability import trace_files
from app.observability.trace_files import MAX_AGE_S, MAX_FILES

NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return trace_files.folder_of(tmp_path / "home")


def put(folder: Path, request_id: str = "req", now: float = NOW) -> None:
    trace_files.write(folder, {"format": 1, "request_id": request_id, "at": str(now)}, now)


def ids(folder: Path) -> list[str]:
    return [one.document["request_id"] for one in trace_files.read(folder)]


def foreign(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("{}")
    return path


def test_no_folder_is_an_empty_buffer(folder: Path) -> None:
    assert trace_files.prune(folder, NOW) == 0
    assert trace_files.read(folder) == []
    assert not folder.exists()


def test_files_and_folder_are_closed_to_others(folder: Path) -> None:
    before = os.umask(0)
    try:
        put(folder)
    finally:
        os.umask(before)
    (path,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_was_removed_is_made_again(folder: Path) -> None:
    put(folder)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    put(folder)
    assert trace_files.prune(folder, NOW) == 1


def test_the_newest_come_first_also_within_a_moment(folder: Path) -> None:
    for number in range(12):
        put(folder, f"same-{number}")
    put(folder, "older", NOW - 1)
    put(folder, "newer", NOW + 0.001)
    assert ids(folder) == ["newer", *(f"same-{number}" for number in range(11, -1, -1)), "older"]


def test_a_request_may_have_several(folder: Path) -> None:
    for request_id in ("a", "b", "a", "aa"):
        put(folder, request_id)
    found = trace_files.of_request(trace_files.read(folder), "a")
    assert [document["request_id"] for document in found] == ["a", "a"]


def test_those_of_a_request_are_in_the_order_of_their_beginnings(folder: Path) -> None:
    for number, at in enumerate(("10:02", "10:01", "10:03")):
        trace_files.write(folder, {"format": 1, "request_id": "a", "at": at}, NOW + number)
    found = trace_files.of_request(trace_files.read(folder), "a")
    assert [document["at"] for document in found] == ["10:01", "10:02", "10:03"]


@pytest.mark.parametrize("content", [{"content": {}}, {}])
def test_a_line_of_the_list_says_how_large_the_file_is_and_whether_words_are_in_it(
    folder: Path, content: dict[str, Any]
) -> None:
    known = {"format": 1, "request_id": "a", "outcome": "completed", "calls": [1], **content}
    trace_files.write(folder, known, NOW)
    (path,), (stored,) = folder.iterdir(), trace_files.read(folder)
    assert stored.document == known
    line = trace_files.summary(stored)
    assert (line["request_id"], line["outcome"], line["turn_id"]) == ("a", "completed", None)
    assert (line["bytes"], line["has_content"]) == (path.stat().st_size, bool(content))
    assert not {"calls", "events", "content"} & set(line)


@pytest.mark.parametrize(
    "request_id", ["", "..", "../outside.json", "/etc/passwd", "%2e%2e", "*", "a\0b", "ré"]
)
def test_an_id_is_no_path(folder: Path, request_id: str) -> None:
    put(folder, "a")
    (folder.parent / "outside.json").write_text('{"request_id": "../outside.json"}')
    assert trace_files.of_request(trace_files.read(folder), request_id) == []


def test_beyond_the_bound_the_oldest_go(folder: Path) -> None:
    for number in range(MAX_FILES + 5):
        put(folder, str(number), NOW + number)
    assert trace_files.prune(folder, NOW + 200) == MAX_FILES
    assert ids(folder)[-1] == "5"


AGES = [
    (0, True),
    (MAX_AGE_S - 1, True),
    (MAX_AGE_S + 1, False),
    (-MAX_AGE_S + 1, True),
    (-MAX_AGE_S - 1, False),
]


@pytest.mark.parametrize(("age", "stays"), AGES)
def test_what_is_a_day_away_goes(folder: Path, age: float, stays: bool) -> None:
    put(folder, now=NOW - age)
    assert trace_files.prune(folder, NOW) == int(stays)


def test_times_in_the_future_do_not_keep_new_traces_out(folder: Path) -> None:
    for _ in range(MAX_FILES):
        put(folder, "wrong clock", NOW + 10 * MAX_AGE_S)
    put(folder, "new")
    trace_files.prune(folder, NOW)
    assert ids(folder) == ["new"]


@pytest.mark.parametrize("name", ["notes.txt", "1-2-3.json", "1800000000000-1-1.json.bak", ".json"])
def test_what_is_not_ours_is_left_alone(folder: Path, name: str) -> None:
    put(folder)
    path = foreign(folder, name)
    assert trace_files.prune(folder, NOW + 100 * MAX_AGE_S) == 0
    assert path.exists()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b'{"format": 1, "request_id": "a", "at"',
        b"[]",
        b"null",
        b"\xff",
        b'{"other": 1}',
        b'{"format": 2, "request_id": "a"}',
    ],
)
def test_a_damaged_or_foreign_file_hides_no_other(folder: Path, damage: bytes) -> None:
    put(folder, "a")
    damaged = folder / f"{int(NOW * 1000)}-5-000000001.json"
    damaged.write_bytes(damage)
    assert ids(folder) == ["a"]
    assert len(trace_files.of_request(trace_files.read(folder), "a")) == 1
    trace_files.prune(folder, NOW + 2 * MAX_AGE_S)
    assert not damaged.exists()


def test_a_file_that_vanishes_meanwhile_is_no_error(folder: Path) -> None:
    """A link to nothing is listed, and cannot be opened: as a file that another worker has removed in between."""
    put(folder, "new")
    (folder / f"{int(NOW * 1000)}-5-000000001.json").symlink_to(folder / "nowhere")
    assert ids(folder) == ["new"]


def test_a_folder_that_cannot_be_written_is_said(folder: Path) -> None:
    """A file stands where the folder should be."""
    folder.parent.mkdir()
    folder.write_text("")
    attempts: list[Callable[[], object]] = [
        lambda: put(folder),
        lambda: trace_files.prune(folder, NOW),
        lambda: trace_files.read(folder),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match="Not a directory"):
            attempt()


def test_a_disk_that_is_full_leaves_nothing_behind(folder: Path) -> None:
    """The largest size of a file stands for the disk's: a few bytes are written, then no more."""
    put(folder, "whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            put(folder, "cut off")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ids(folder) == ["whole"]
    assert len(list(folder.iterdir())) == 1
