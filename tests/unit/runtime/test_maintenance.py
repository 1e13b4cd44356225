"""The flag between the memory, the setting and the endpoint: who wins, what is logged, when it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from app.http.maintenance_flag import MaintenanceSpec, Source, State
from app.runtime.layout import Maintenance
from app.runtime.maintenance import MaintenanceSwitch, record_of, state_of
from app.runtime.shared import SharedState

NOW = 1_790_000_000.0
ON = MaintenanceSpec(True, "moving house", NOW + 60, 30)

# Pure


@pytest.mark.parametrize(
    ("record", "now", "state"),
    [
        (
            Maintenance(False, False, changed_at=5.0),
            NOW,
            State(MaintenanceSpec(False), Source.SETTING, 5.0, False),
        ),
        (
            Maintenance(True, True, changed_at=5.0),
            NOW,
            State(MaintenanceSpec(True), Source.SETTING, 5.0, True),
        ),
        (
            Maintenance(True, False, True, 30, NOW + 60, 5.0, "moving house"),
            NOW,
            State(ON, Source.ENDPOINT, 5.0, False),
        ),
        (
            Maintenance(False, True, True, changed_at=5.0),
            NOW,
            State(MaintenanceSpec(False), Source.ENDPOINT, 5.0, True),
        ),
        (
            Maintenance(True, True, True, 30, NOW + 60, 5.0, "moving house"),
            NOW + 60,
            State(MaintenanceSpec(False), Source.UNTIL, NOW + 60, True),
        ),
    ],
)
def test_what_a_record_means(record: Maintenance, now: float, state: State) -> None:
    assert state_of(record, now) == state


@pytest.mark.parametrize(
    ("order", "record"),
    [
        (ON, Maintenance(True, True, True, 30, NOW + 60, NOW, "moving house")),
        (MaintenanceSpec(True), Maintenance(True, True, True, 0, 0.0, NOW, "")),
        (MaintenanceSpec(False), Maintenance(False, True, True, 0, 0.0, NOW, "")),
        (
            MaintenanceSpec(False, "why", NOW + 9, 7),
            Maintenance(False, True, True, 0, 0.0, NOW, ""),
        ),
    ],
)
def test_what_an_order_is_written_as(order: MaintenanceSpec, record: Maintenance) -> None:
    assert record_of(order, env_value=True, now=NOW) == record


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


Worker = Callable[[bool], MaintenanceSwitch]


@pytest.fixture
def loaded(shared: SharedState, clock: Clock) -> Worker:
    """A worker that has loaded this value of the setting, and does not serve yet."""

    def make(configured: bool) -> MaintenanceSwitch:
        switch = MaintenanceSwitch(configured=configured, clock=clock)
        switch.adopt(shared)
        return switch

    return make


@pytest.fixture
def serving(loaded: Worker) -> Worker:
    def make(configured: bool) -> MaintenanceSwitch:
        switch = loaded(configured)
        switch.begin_service()
        return switch

    return make


def changes(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    return [
        (vars(record)["is_on"], vars(record)["set_by"])
        for record in caplog.records
        if record.message == "maintenance_changed"
    ]


@pytest.mark.parametrize("configured", [False, True])
def test_without_a_master_the_setting_counts(configured: bool) -> None:
    switch = MaintenanceSwitch(configured=configured, clock=Clock())
    assert switch.state() == State(MaintenanceSpec(configured), Source.SETTING, NOW, configured)
    assert switch.obey(MaintenanceSpec(not configured)).is_on is not configured
    assert switch.state().is_on is not configured


@pytest.mark.parametrize("configured", [False, True])
def test_a_first_worker_has_what_the_setting_says(
    serving: Worker, configured: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert serving(configured).state().is_on is configured
    assert changes(caplog) == ([(True, "setting")] if configured else [])


def test_an_order_reaches_every_worker_and_the_next_one(serving: Worker) -> None:
    old, new = serving(False), serving(False)
    old.obey(ON)
    assert new.state().order == ON
    assert serving(False).state().order == ON
    new.obey(MaintenanceSpec(False))
    assert not old.state().is_on


def test_a_setting_that_has_not_changed_leaves_an_order_alone(serving: Worker) -> None:
    serving(True).obey(MaintenanceSpec(False))
    assert serving(True).state().set_by is Source.ENDPOINT
    assert not serving(True).state().is_on


def test_a_setting_that_changes_to_true_counts_as_soon_as_it_is_loaded(
    serving: Worker, loaded: Worker
) -> None:
    old = serving(False)
    old.obey(ON)
    loaded(True)
    assert old.state() == State(MaintenanceSpec(True), Source.SETTING, NOW, True)


def test_a_setting_that_changes_to_false_counts_when_its_worker_serves(
    serving: Worker, loaded: Worker
) -> None:
    old = serving(True)
    new = loaded(False)
    assert old.state().is_on
    new.begin_service()
    assert old.state() == State(MaintenanceSpec(False), Source.SETTING, NOW, False)


def test_a_reset_goes_back_to_the_setting(
    serving: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    switch = serving(False)
    switch.obey(ON)
    assert switch.forget() == State(MaintenanceSpec(False), Source.SETTING, NOW, False)
    assert switch.forget().is_on is False
    assert changes(caplog) == [(True, "endpoint"), (False, "setting")]


def test_a_worker_that_goes_does_not_bring_its_old_setting_back(serving: Worker) -> None:
    old = serving(False)
    serving(True)
    old.obey(MaintenanceSpec(False))
    assert serving(True).state() == State(MaintenanceSpec(False), Source.ENDPOINT, NOW, True)
    assert old.forget().is_on is True


def test_a_record_that_cannot_be_read_is_what_the_setting_says(
    shared: SharedState, serving: Worker
) -> None:
    switch = serving(True)
    shared.memory[1344 + 8 : 1344 + 40] = b"x" * 32
    assert switch.state().is_on


def test_the_end_comes_by_itself_and_is_logged_once(
    serving: Worker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    switch = serving(False)
    switch.obey(ON)
    switch.look()
    clock.now = NOW + 59.9
    switch.look()
    assert switch.state().is_on
    clock.now = NOW + 60
    assert not switch.state().is_on
    switch.look()
    switch.look()
    assert serving(False).state().set_by is Source.UNTIL
    assert changes(caplog) == [(True, "endpoint"), (False, "until")]


def test_no_reason_is_logged(serving: Worker, caplog: pytest.LogCaptureFixture) -> None:
    serving(False).obey(MaintenanceSpec(True, "canary"))
    assert "canary" not in str([vars(record) for record in caplog.records])


@pytest.fixture(autouse=True)
def _listen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "codex_api")
