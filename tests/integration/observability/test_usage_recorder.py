"""Counts of usage on their way to a real file: in batches, once each, and never lost at an end."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent
import pytest

from app.answer_store.no_store import NoStore
from app.answer_store.sqlite_store import SqliteStore
from app.answer_store.usage_counts import (
    MOST_ROWS_A_DAY,
    OTHER,
    Counts,
    RowName,
    UsageBatch,
    UsageQuery,
)
from app.errors import StoreFailed
from app.observability.requests import RequestRecord
from app.observability.usage_recorder import UsageRecorder
from tests.fakes.stored_answers import GB, MONTH_S

DAY_S = 86_400
NOON = 1_796_040_000.0  # 2026-11-30 12:00 UTC
TODAY = "2026-11-30"


class Unsure(NoStore):
    """A store that does what it is told and says that it failed, so many times."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = 0
        self.is_done = True
        self.added: list[UsageBatch] = []
        self._numbers: dict[str, int] = {}

    def add_usage(self, batch: UsageBatch, *, is_last: bool = False) -> int:
        is_new = self._numbers.get(batch.writer, 0) < batch.number
        if is_new and (self.is_done or not self.fails):
            self._numbers[batch.writer] = batch.number
            self.added.append(batch)
            super().add_usage(batch, is_last=is_last)
        if self.fails:
            self.fails -= 1
            raise StoreFailed("not now")
        return 0


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


MakeStore = Callable[[], SqliteStore]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeStore]:
    made: list[SqliteStore] = []

    def make() -> SqliteStore:
        made.append(SqliteStore(tmp_path / "gateway", GB, MONTH_S))
        return made[-1]

    yield make
    for store in made:
        store.close()


def end(recorder: UsageRecorder, **known: Any) -> None:
    """Let one request end."""
    record = RequestRecord("req_1", "POST", key_name="ann", model="gpt-5.5")
    for name, value in known.items():
        setattr(record, name, value)
    recorder.request_ended(record)


def all_of(recorder: UsageRecorder, days: int = 90) -> Mapping[RowName, Counts]:
    return recorder.read(days)


def test_what_requests_cost_is_added_up(make: MakeStore) -> None:
    recorder = UsageRecorder(make(), 90, clock=Clock())
    end(recorder, prompt_tokens=10, cached_tokens=4, completion_tokens=5, reasoning_tokens=2)
    end(recorder, prompt_tokens=1, completion_tokens=1, outcome="client_left")
    assert all_of(recorder) == {RowName(TODAY, "ann", "gpt-5.5"): Counts(2, 0, 11, 4, 6, 2)}
    end(recorder, error_code="UPSTREAM_ERROR", outcome="failed")
    end(recorder, model="other", requested_model="gpt-5.5")
    end(recorder, key_name="bob")
    assert all_of(recorder) == {
        RowName(TODAY, "ann", "gpt-5.5"): Counts(4, 1, 11, 4, 6, 2),
        RowName(TODAY, "bob", "gpt-5.5"): Counts(1),
    }


@pytest.mark.parametrize("known", [{"model": None, "error_code": "x"}, {"is_handed_over": True}])
def test_what_asked_no_model_makes_no_row(make: MakeStore, known: dict[str, Any]) -> None:
    recorder = UsageRecorder(make(), 90, clock=Clock())
    end(recorder, **known)
    assert all_of(recorder) == {}


def test_the_workers_of_a_reload_add_to_the_same_rows(make: MakeStore) -> None:
    old, new = (UsageRecorder(make(), 90, clock=Clock()) for _ in range(2))
    for _ in range(5):
        end(old, prompt_tokens=3)
        end(new, prompt_tokens=4)
        new.read(1)
    old.stop()
    assert all_of(new) == {RowName(TODAY, "ann", "gpt-5.5"): Counts(10, 0, 35)}


def test_a_stop_writes_what_waits(make: MakeStore) -> None:
    recorder = UsageRecorder(make(), 90, clock=Clock())
    recorder.start()
    end(recorder, prompt_tokens=3)
    recorder.stop()
    assert make().usage(UsageQuery(TODAY, TODAY)) == {
        RowName(TODAY, "ann", "gpt-5.5"): Counts(1, 0, 3)
    }


def test_a_stop_writes_also_right_after_the_store_has_failed(
    make: MakeStore, tmp_path: Path
) -> None:
    store = make()
    recorder = UsageRecorder(store, 90, clock=Clock())
    end(recorder, prompt_tokens=3)
    recorder.read(1)
    (path,) = (tmp_path / "gateway").glob("answers-*.sqlite")
    end(recorder, prompt_tokens=4)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(StoreFailed):
            recorder.read(1)
        end(recorder, prompt_tokens=5)
        other.execute("rollback")
    with pytest.raises(StoreFailed):  # nobody asks it again so soon
        recorder.read(1)
    recorder.stop()
    assert make().usage(UsageQuery(TODAY, TODAY)) == {
        RowName(TODAY, "ann", "gpt-5.5"): Counts(3, 0, 12)
    }


def test_many_requests_are_few_writes_and_no_request_waits_for_one() -> None:
    store = Unsure()
    recorder = UsageRecorder(store, 90, clock=Clock(), gather_s=0.001)
    recorder.start()
    for _ in range(1000):
        end(recorder)
    assert store.added == []
    with gevent.Timeout(10):
        while not store.added:
            gevent.sleep(0.001)
    recorder.stop()
    (batch,) = store.added
    assert batch.rows == {RowName(TODAY, "ann", "gpt-5.5"): Counts(1000)}


@pytest.mark.parametrize("is_done", [True, False])
def test_a_batch_is_added_once_whether_its_failure_was_one_or_not(is_done: bool) -> None:
    store = Unsure()
    store.is_done, store.fails = is_done, 3
    recorder = UsageRecorder(store, 90, clock=Clock())
    for _ in range(3):
        end(recorder, prompt_tokens=1)
        with pytest.raises(StoreFailed):
            recorder.read(1)
    end(recorder, prompt_tokens=1)
    assert all_of(recorder) == {RowName(TODAY, "ann", "gpt-5.5"): Counts(4, 0, 4)}


def test_the_file_adds_a_batch_once(make: MakeStore) -> None:
    rows = {RowName(TODAY, "ann", "gpt-5.5"): Counts(1, 0, 7)}
    store = make()
    for number in (1, 1, 2, 1, 2):
        store.add_usage(UsageBatch("w", number, rows, TODAY, 1))
    make().add_usage(UsageBatch("v", 1, rows, TODAY, 1))
    assert store.usage(UsageQuery(TODAY, TODAY)) == dict.fromkeys(rows, Counts(3, 0, 21))


def test_what_cannot_be_written_at_the_end_is_said(caplog: pytest.LogCaptureFixture) -> None:
    store = Unsure()
    store.is_done, store.fails = False, 1
    recorder = UsageRecorder(store, 90, clock=Clock())
    end(recorder)
    end(recorder)
    with caplog.at_level(logging.ERROR):
        recorder.stop()
    (line,) = [record for record in caplog.records if record.message == "usage_lost"]
    assert vars(line)["requests"] == 2


class Defective(NoStore):
    """A store that has a defect, which the first batch meets."""

    met = False

    def add_usage(self, batch: UsageBatch, *, is_last: bool = False) -> int:
        if not self.met:
            self.met = True
            raise KeyError("a defect")
        return super().add_usage(batch, is_last=is_last)


def test_a_defect_costs_what_it_met_and_not_what_follows(caplog: pytest.LogCaptureFixture) -> None:
    store = Defective()
    recorder = UsageRecorder(store, 90, clock=Clock(), gather_s=0)
    recorder.start()
    end(recorder)
    with caplog.at_level(logging.ERROR), gevent.Timeout(10):
        while not caplog.records:
            gevent.sleep(0.001)
        end(recorder)
        while not store.usage(UsageQuery(TODAY, TODAY)):
            gevent.sleep(0.001)
    recorder.stop()
    (line,) = [record for record in caplog.records if record.message == "usage_lost"]
    assert (vars(line)["requests"], line.exc_info is not None) == (1, True)
    assert [counts.requests for counts in store.usage(UsageQuery(TODAY, TODAY)).values()] == [1]


def test_days_end_at_midnight_in_utc_and_go_when_they_are_old(make: MakeStore) -> None:
    clock = Clock()
    store = make()
    recorder = UsageRecorder(store, 3, clock=clock)
    for day in range(5):
        clock.now = NOON + day * DAY_S
        end(recorder)
        recorder.read(1)
    days = [name.day for name in all_of(recorder)]
    assert days == ["2026-12-04", "2026-12-03", "2026-12-02"]
    assert [name.day for name in recorder.read(2)] == days[:2]
    assert len(store.usage(UsageQuery("2000-01-01", "2099-01-01"))) == 3


@pytest.mark.parametrize("kind", ["sqlite", "off"])
def test_a_day_has_a_bounded_number_of_rows(make: MakeStore, kind: str) -> None:
    displaced: list[int] = []
    store = make() if kind == "sqlite" else NoStore()
    for worker in range(2):
        recorder = UsageRecorder(store, 90, displaced.append, Clock())
        for number in range(MOST_ROWS_A_DAY - 10):
            end(recorder, model=f"model-{worker}-{number}")
        recorder.read(1)
    rows = all_of(recorder)
    assert len(rows) == MOST_ROWS_A_DAY + 1
    over = MOST_ROWS_A_DAY - 20
    assert rows[RowName(TODAY, OTHER, OTHER)] == Counts(over)
    assert sum(displaced) == over
    assert sum(counts.requests for counts in rows.values()) == 2 * (MOST_ROWS_A_DAY - 10)


def test_without_a_store_it_is_counted_in_memory() -> None:
    recorder = UsageRecorder(NoStore(), 90, clock=Clock())
    assert not recorder.is_kept
    end(recorder, prompt_tokens=3)
    assert all_of(recorder) == {RowName(TODAY, "ann", "gpt-5.5"): Counts(1, 0, 3)}
