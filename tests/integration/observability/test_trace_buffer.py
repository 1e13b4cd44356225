"""The buffer of one worker with real files: what is written when, what is lost, and that nobody waits for the disk."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from app.observability import trace_files
from app.observability.trace_buffer import MAX_WAITING, TraceBuffer
from tests.fakes.waiting import deadline, eventually, in_thread


class Lines(logging.Handler):
    """Keeps what was logged: the event, its level and its fields."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def events(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger, handler = logging.getLogger("codex_api.traces"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trace-buffer"


@pytest.fixture
def lost() -> Counter[str]:
    return Counter()


@pytest.fixture
def make(folder: Path, lost: Counter[str]) -> Iterator[Callable[..., TraceBuffer]]:
    """Buffers, started as in a worker, and stopped at the end."""
    made: list[TraceBuffer] = []

    def start(*, run: bool = True, **options: Any) -> TraceBuffer:
        buffer = TraceBuffer(folder, lambda: lost.update(["trace"]), **options)
        made.append(buffer)
        if run:
            buffer.start()
        return buffer

    yield start
    for buffer in made:
        buffer.stop()


def fill(buffer: TraceBuffer, *request_ids: str) -> None:
    for request_id in request_ids:
        buffer.add(buffer.begin(request_id))


def answered(buffer: TraceBuffer, request_id: str) -> None:
    trace = buffer.begin(request_id)
    trace.end(time.monotonic(), "completed")
    buffer.add(trace)


def in_files(folder: Path) -> list[str]:
    return [one.document["request_id"] for one in trace_files.read(folder)]


def ids(buffer: TraceBuffer) -> list[str]:
    return [one.document["request_id"] for one in buffer.read()]


def aged(folder: Path, age_s: float) -> Path:
    """A trace of an earlier day."""
    trace_files.write(folder, {"request_id": "aged"}, time.time() - age_s)
    return min(folder.iterdir())


def test_what_is_added_can_be_read_a_moment_later(make: Callable[..., TraceBuffer]) -> None:
    buffer = make()
    fill(buffer, "a", "b", "a")
    eventually(lambda: buffer.entries == 3)
    assert ids(buffer) == ["a", "b", "a"]


def test_a_stop_writes_what_waits(make: Callable[..., TraceBuffer], lost: Counter[str]) -> None:
    buffer = make()
    fill(buffer, *map(str, range(MAX_WAITING)))
    buffer.stop()
    assert buffer.entries == MAX_WAITING
    assert lost == {}


def test_a_buffer_that_was_never_run_stops_at_once(make: Callable[..., TraceBuffer]) -> None:
    with deadline(1):
        make(run=False).stop()


def test_beyond_the_queue_the_oldest_give_way_as_they_would_in_the_folder(
    make: Callable[..., TraceBuffer], lost: Counter[str]
) -> None:
    buffer = make(run=False)
    fill(buffer, *map(str, range(MAX_WAITING + 7)))
    assert buffer.entries == 0
    assert sorted(map(int, ids(buffer))) == list(range(7, MAX_WAITING + 7))
    assert lost == {}


def test_who_reads_sees_what_still_waits(make: Callable[..., TraceBuffer]) -> None:
    buffer = make(run=False)
    fill(buffer, "a", "b")
    assert ids(buffer) == ["b", "a"]


def test_where_many_ended_the_next_wait_for_others(
    make: Callable[..., TraceBuffer], folder: Path
) -> None:
    buffer = make(gather_s=0.005)
    fill(buffer, *map(str, range(MAX_WAITING)))
    eventually(lambda: buffer.entries == MAX_WAITING)
    added = time.monotonic()
    answered(buffer, "a")
    eventually(lambda: "a" in in_files(folder))
    assert time.monotonic() - added >= 0.005 * MAX_WAITING


def test_one_of_a_turn_that_failed_waits_for_nobody(
    make: Callable[..., TraceBuffer], folder: Path
) -> None:
    buffer = make(gather_s=600)
    answered(buffer, "a")
    fill(buffer, "b")
    eventually(lambda: in_files(folder) == ["b", "a"])


def test_what_is_old_goes_at_the_start_and_while_nothing_happens(
    make: Callable[..., TraceBuffer], folder: Path
) -> None:
    first = aged(folder, trace_files.MAX_AGE_S + 1)
    make(prune_every_s=0.02, is_on=False)
    eventually(lambda: not first.exists())
    second = aged(folder, trace_files.MAX_AGE_S + 1)
    eventually(lambda: not second.exists())


def test_two_workers_share_one_folder(
    make: Callable[..., TraceBuffer], folder: Path, lost: Counter[str]
) -> None:
    old, new = make(), make()
    for number in range(0, 220, 2):
        fill(old, f"{number:03d}")
        fill(new, f"{number + 1:03d}")
        eventually(lambda: any(f"{number:03d}" == one for one in ids(old)))  # noqa: B023
    old.stop()
    new.stop()
    assert old.entries == new.entries == trace_files.MAX_FILES
    assert len(list(folder.iterdir())) == trace_files.MAX_FILES
    assert sorted(ids(new)) == [f"{number:03d}" for number in range(120, 220)]
    assert lost == {}


def test_a_folder_that_cannot_be_written_is_said_once_and_when_it_is_over(
    make: Callable[..., TraceBuffer], folder: Path, lost: Counter[str], lines: Lines
) -> None:
    folder.write_text("in the way")
    buffer = make()
    for number in range(1, 4):
        fill(buffer, "lost")
        eventually(lambda: lost["trace"] == number)  # noqa: B023
    assert buffer.entries == 0
    with pytest.raises(OSError, match="Not a directory"):
        buffer.read()
    folder.unlink()
    fill(buffer, "kept")
    eventually(lambda: lines.events() == ["traces_not_written", "traces_written_again"])
    assert ids(buffer) == ["kept"]
    assert vars(lines.records[0])["reason"] == "ENOTDIR"
    folder.rename(folder.with_name("aside"))
    folder.write_text("again")
    fill(buffer, "lost")
    eventually(lambda: lines.events()[2:] == ["traces_not_written"])


def test_nobody_waits_for_a_disk_that_hangs(
    make: Callable[..., TraceBuffer], folder: Path, lost: Counter[str]
) -> None:
    """A pipe that nobody reads stands where a file is to be: whoever opens it waits, in the kernel."""
    buffer = make()
    fill(buffer, "a")
    eventually(lambda: buffer.entries == 1)
    hanging = folder / f"{int(time.time() * 1000)}-1-1.json"  # of now: nothing removes it early
    os.mkfifo(hanging)
    reader = gevent.spawn(buffer.read)
    gevent.sleep(0)
    with deadline(2):  # the hub is free
        fill(buffer, *map(str, range(MAX_WAITING + 1)))
    assert not reader.ready()
    in_thread(hanging.write_bytes, b'{"format": 1, "at": ""}')
    with deadline():
        assert len(reader.get()) == 2
    eventually(lambda: not hanging.exists())  # a hundred are written, so what is older goes
    assert lost["trace"] in {0, 1}


@pytest.mark.parametrize(
    ("is_on", "has_content", "said"),
    [
        (True, True, ["trace_content_kept"]),
        (True, False, []),
        (False, True, []),
    ],
)
def test_that_words_are_kept_is_said_once(
    make: Callable[..., TraceBuffer], lines: Lines, is_on: bool, has_content: bool, said: list[str]
) -> None:
    buffer = make(is_on=is_on, has_content=has_content)
    fill(buffer, "a", "b")
    eventually(lambda: buffer.entries == 2)
    assert lines.events() == said
    assert (buffer.begin("c").content is not None) is has_content
