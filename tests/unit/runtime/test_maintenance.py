"""The flag between the memory, the setting and the endpoint: who wins, what is logged, when it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.http.maintenance_flag import Maintenance, Source
from app.runtime.maintenance import SharedMaintenanceFlag, initial_flag
from app.runtime.shared import SharedState

NOW = 1_790_000_000.0
ON = Maintenance(True, "moving house", NOW + 60, 30)
SET = replace(ON, set_by=Source.ENDPOINT, since=NOW)

# Pure


@pytest.mark.parametrize(
    ("flag", "now", "state"),
    [
        *(
            (flag, 1e12, flag)
            for flag in (
                Maintenance(False, since=5.0),
                Maintenance(True, since=5.0, configured=True),
                Maintenance(True, "moving house", None, 30, Source.ENDPOINT, 5.0),
                Maintenance(False, "", NOW, None, Source.ENDPOINT, 5.0, configured=True),
            )
        ),
        (ON, NOW + 59.999, ON),
        *(
            (
                Maintenance(True, "moving house", NOW + 60, 30, Source.ENDPOINT, 5.0, True),
                now,
                Maintenance(False, set_by=Source.UNTIL, since=NOW + 60, configured=True),
            )
            for now in (NOW + 60, 1e12)
        ),
    ],
)
def test_what_holds_at_a_moment(flag: Maintenance, now: float, state: Maintenance) -> None:
    assert flag.at(now) == state


SET_BY_HAND = Maintenance(True, set_by=Source.ENDPOINT, since=1.0)
SET_OFF_BY_HAND = Maintenance(False, set_by=Source.ENDPOINT, since=1.0, configured=True)
CONFIGURED_ON = Maintenance(True, since=9.0, configured=True)
CONFIGURED_OFF = Maintenance(False, since=9.0)

INITIAL: list[tuple[str, Maintenance | None, bool, Maintenance]] = [
    ("nothing there", None, True, CONFIGURED_ON),
    ("nothing there, off", None, False, CONFIGURED_OFF),
    ("the endpoint wins", SET_BY_HAND, False, SET_BY_HAND),
    ("the endpoint wins, off", SET_OFF_BY_HAND, True, SET_OFF_BY_HAND),
    ("a change wins", SET_BY_HAND, True, CONFIGURED_ON),
    ("a change wins, off", SET_OFF_BY_HAND, False, CONFIGURED_OFF),
]


@pytest.mark.parametrize(("found", "configured", "flag"), [row[1:] for row in INITIAL])
def test_only_a_change_of_the_setting_overrides_the_endpoint(
    found: Maintenance | None, configured: bool, flag: Maintenance
) -> None:
    assert initial_flag(found, configured, 9.0) == flag


# Between workers


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared() -> SharedState:
    return SharedState.private()


Worker = Callable[[bool], SharedMaintenanceFlag]


@pytest.fixture
def loaded(shared: SharedState, clock: Clock) -> Worker:
    """A worker that has loaded this value of the setting, and does not serve yet."""

    def make(configured: bool) -> SharedMaintenanceFlag:
        flag = SharedMaintenanceFlag(configured=configured, clock=clock)
        flag.adopt(shared)
        return flag

    return make


@pytest.fixture
def serving(loaded: Worker) -> Worker:
    def make(configured: bool) -> SharedMaintenanceFlag:
        flag = loaded(configured)
        flag.begin_service()
        return flag

    return make


def changes(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    return [
        (vars(record)["is_on"], vars(record)["set_by"])
        for record in caplog.records
        if record.message == "maintenance_changed"
    ]


@pytest.mark.parametrize("configured", [False, True])
def test_without_a_master_the_setting_counts(configured: bool) -> None:
    flag = SharedMaintenanceFlag(configured=configured, clock=Clock())
    assert flag.state() == Maintenance(configured, since=NOW, configured=configured)
    assert flag.set(Maintenance(not configured)).is_on is not configured
    assert flag.state().is_on is not configured


@pytest.mark.parametrize("configured", [False, True])
def test_a_first_worker_has_what_the_setting_says(
    serving: Worker, configured: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert serving(configured).state().is_on is configured
    assert changes(caplog) == ([(True, "setting")] if configured else [])


def test_an_order_reaches_every_worker_and_the_next_one(serving: Worker) -> None:
    old, new = serving(False), serving(False)
    old.set(ON)
    assert new.state() == SET
    assert serving(False).state() == SET
    new.set(Maintenance(False))
    assert not old.state().is_on


def test_a_setting_that_has_not_changed_leaves_an_order_alone(serving: Worker) -> None:
    serving(True).set(Maintenance(False))
    assert serving(True).state().set_by is Source.ENDPOINT
    assert not serving(True).state().is_on


def test_a_setting_that_changes_to_true_counts_as_soon_as_it_is_loaded(
    serving: Worker, loaded: Worker
) -> None:
    old = serving(False)
    old.set(ON)
    loaded(True)
    assert old.state() == Maintenance(True, since=NOW, configured=True)


def test_a_setting_that_changes_to_false_counts_when_its_worker_serves(
    serving: Worker, loaded: Worker
) -> None:
    old = serving(True)
    new = loaded(False)
    assert old.state().is_on
    new.begin_service()
    assert old.state() == Maintenance(False, since=NOW)


def test_a_reset_goes_back_to_the_setting(
    serving: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    flag = serving(False)
    flag.set(ON)
    assert flag.reset() == Maintenance(False, since=NOW)
    assert flag.reset().is_on is False
    assert changes(caplog) == [(True, "endpoint"), (False, "setting")]


def test_a_worker_that_goes_does_not_bring_its_old_setting_back(serving: Worker) -> None:
    old = serving(False)
    serving(True)
    old.set(Maintenance(False))
    assert serving(True).state() == Maintenance(
        False, set_by=Source.ENDPOINT, since=NOW, configured=True
    )
    assert old.reset().is_on is True


def test_a_record_that_cannot_be_read_is_what_the_setting_says(
    shared: SharedState, serving: Worker
) -> None:
    flag = serving(True)
    shared.memory[1344 + 8 : 1344 + 40] = b"x" * 32
    assert flag.state().is_on


def test_the_end_comes_by_itself_and_is_logged_once(
    serving: Worker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    flag = serving(False)
    flag.set(ON)
    flag.poll()
    clock.now = NOW + 59.9
    flag.poll()
    assert flag.state().is_on
    clock.now = NOW + 60
    assert not flag.state().is_on
    flag.poll()
    flag.poll()
    assert serving(False).state().set_by is Source.UNTIL
    assert changes(caplog) == [(True, "endpoint"), (False, "until")]


@pytest.mark.parametrize(
    ("order", "written"),
    [
        (ON, SET),
        (Maintenance(True), Maintenance(True, set_by=Source.ENDPOINT, since=NOW)),
        (
            Maintenance(False, "why", NOW + 9, 7),
            Maintenance(False, set_by=Source.ENDPOINT, since=NOW),
        ),
        # Whatever an order says of itself does not count.
        (replace(ON, set_by=Source.UNTIL, since=1.0, configured=True), SET),
    ],
)
def test_only_maintenance_has_a_reason_and_an_end(
    serving: Worker, order: Maintenance, written: Maintenance
) -> None:
    flag = serving(False)
    assert flag.set(order) == written
    assert flag.state() == written


@pytest.mark.parametrize(
    ("order", "earlier", "now", "ended"),
    [
        (ON, 58.0, 59.9, False),
        (ON, 59.9, 60.0, True),
        (ON, 59.9, 99.0, True),
        (ON, 60.0, 99.0, False),
        (ON, 99.0, 58.0, False),
        (Maintenance(True), 0.0, 1e9, False),
        (Maintenance(False), 58.0, 99.0, False),
    ],
)
def test_an_end_lies_between_two_polls_only_once(
    serving: Worker,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    order: Maintenance,
    earlier: float,
    now: float,
    ended: bool,
) -> None:
    flag = serving(False)
    flag.set(order)
    clock.now = NOW + earlier
    flag.poll()
    caplog.clear()
    clock.now = NOW + now
    flag.poll()
    assert changes(caplog) == ([(False, "until")] if ended else [])


def test_no_reason_is_logged(serving: Worker, caplog: pytest.LogCaptureFixture) -> None:
    serving(False).set(Maintenance(True, "canary"))
    assert "canary" not in str([vars(record) for record in caplog.records])


@pytest.fixture(autouse=True)
def _listen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "codex_api")
