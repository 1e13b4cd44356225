"""Requests counted in files: exact at the border, and shared by whoever opens the same folder."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.limit_files import LimitFiles
from app.setting_values import Window

START = 1_800_000_000.0
THREE = (Window(3, 60),)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def files(tmp_path: Path, clock: Clock) -> LimitFiles:
    return LimitFiles(tmp_path / "limits", clock)


def takes(files: LimitFiles, clock: Clock, windows: Sequence[Window], *times: float) -> list[bool]:
    answers = []
    for at in times:
        clock.now = START + at
        answers.append(files.take("key", windows).is_allowed)
    return answers


@pytest.mark.parametrize(
    ("windows", "times", "answers"),
    [
        (THREE, (0, 0, 0, 0), "+++-"),
        (THREE, (0, 59, 59.999, 59.999, 60), "+++-+"),
        # Three at the end of one minute and three at the start of the next would be six within two seconds.
        (THREE, (59, 59, 59, 61, 61, 118.9, 119, 119, 119, 119), "+++---+++-"),
        # What was refused does not count.
        (THREE, (0, 1, 2, 3, 4, 5, 60, 61, 62, 63), "+++---+++-"),
        ((Window(1, 1),), (0, 0.999, 1, 1.5, 2), "+-+-+"),
        # Neither does what only one of two windows refuses.
        ((Window(2, 10), Window(3, 100)), (0, 0, 1, 2, 10, 11, 20, 100), "++--+--+"),
    ],
)
def test_no_window_ever_holds_more(
    files: LimitFiles, clock: Clock, windows: Sequence[Window], times: Sequence[float], answers: str
) -> None:
    assert takes(files, clock, windows, *times) == [answer == "+" for answer in answers]


@given(
    limit=st.integers(1, 5),
    seconds=st.integers(1, 10),
    steps=st.lists(st.integers(0, 4), max_size=60),
)
def test_it_agrees_with_counting_by_hand(
    tmp_path_factory: pytest.TempPathFactory, limit: int, seconds: int, steps: list[int]
) -> None:
    clock, kept, window = Clock(), [], Window(limit, seconds)
    files = LimitFiles(tmp_path_factory.mktemp("limits"), clock)
    for step in steps:
        clock.now += step
        recent = [at for at in kept if clock.now - at < seconds]
        verdict = files.take("key", [window])
        assert verdict.is_allowed == (len(recent) < limit)
        if verdict.is_allowed:
            kept.append(clock.now)
            recent.append(clock.now)
        (reading,) = verdict.readings
        assert reading.used == len(recent)
        assert reading.empties_s == recent[-1] + seconds - clock.now
        assert reading.frees_s == (recent[0] + seconds - clock.now if len(recent) == limit else 0)


def test_looking_counts_nothing(files: LimitFiles) -> None:
    assert [files.look("key", THREE).readings[0].used for _ in range(5)] == [0] * 5
    files.take("key", THREE)
    assert [files.look("key", THREE).readings[0].used for _ in range(5)] == [1] * 5
    assert files.take("key", THREE).readings[0].used == 2


def test_keys_and_limits_are_counted_apart(files: LimitFiles) -> None:
    for name, windows in (("a", THREE), ("b", THREE), ("a", (Window(4, 60),)), ("../a\n/", THREE)):
        assert files.take(name, windows).readings[0].used == 1


def test_what_was_counted_is_there_for_the_next_one(tmp_path: Path, clock: Clock) -> None:
    answers = [LimitFiles(tmp_path, clock).take("key", THREE).is_allowed for _ in range(5)]
    assert answers == [True, True, True, False, False]
    (book,) = tmp_path.iterdir()
    assert book.stat().st_mode & 0o777 == 0o600


def test_after_a_clock_was_set_back_nobody_waits_longer_than_a_window(
    files: LimitFiles, clock: Clock
) -> None:
    assert takes(files, clock, THREE, 0, 0, 0, -3600) == [True, True, True, True]
    assert takes(files, clock, THREE, -3600, -3600, -3600) == [True, True, False]


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 32, b"\xff" * 100])
def test_a_file_with_nonsense_refuses_nobody(tmp_path: Path, clock: Clock, content: bytes) -> None:
    LimitFiles(tmp_path, clock).take("key", THREE)
    (book,) = tmp_path.iterdir()
    book.write_bytes(content)
    files = LimitFiles(tmp_path, clock)
    assert takes(files, clock, THREE, 0, 0, 0, 0) == [True, True, True, False]


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "limits").write_text("a file")
    with pytest.raises(OSError, match="limits"):
        LimitFiles(tmp_path / "limits").take("key", THREE)


def test_what_cannot_be_made_leaves_no_descriptor_open(tmp_path: Path) -> None:
    files, windows = LimitFiles(tmp_path), (Window(10**18, 60),)  # more than any disk has
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(OSError, match=r"space|large|Invalid|memory"):
            files.take("key", windows)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def take_many(folder: Path, count: int) -> Counter[bool]:
    files = LimitFiles(folder)
    return Counter(files.take("key", (Window(500, 3600),)).is_allowed for _ in range(count))


def test_processes_together_take_exactly_the_limit(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        taken = pool.starmap(take_many, [(tmp_path, 200)] * 4)
    assert sum(taken, Counter[bool]()) == {True: 500, False: 300}
