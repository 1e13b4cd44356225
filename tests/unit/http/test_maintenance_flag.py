"""What a client and an operator are told of the maintenance flag."""

from __future__ import annotations

from typing import Any

import pytest

from app.http.maintenance_flag import MaintenanceSpec, Source, State, refusal, utc, wait_s

NOW = 1_796_119_200.0  # 2026-12-01T10:00:00Z


@pytest.mark.parametrize(
    ("order", "seconds"),
    [
        (MaintenanceSpec(True), None),
        (MaintenanceSpec(True, retry_after_s=7), 7),
        (MaintenanceSpec(True, until=NOW + 60), 60),
        (MaintenanceSpec(True, until=NOW + 59.2), 60),
        (MaintenanceSpec(True, until=NOW + 0.01), 1),
        (MaintenanceSpec(True, until=NOW - 1), 1),
        (MaintenanceSpec(True, until=NOW + 10**6), 86_400),
        (MaintenanceSpec(True, until=NOW + 60, retry_after_s=7), 7),
        (MaintenanceSpec(True, until=NOW + 1, retry_after_s=7), 7),
    ],
)
def test_how_long_a_client_shall_wait(order: MaintenanceSpec, seconds: int | None) -> None:
    assert wait_s(order, NOW) == seconds
    assert refusal(order, NOW).retry_after_s == (seconds or 30)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (MaintenanceSpec(True), "This gateway is in maintenance; send the request again later."),
        (MaintenanceSpec(True, "We move."), "This gateway is in maintenance: We move."),
        (
            MaintenanceSpec(True, until=NOW),
            "This gateway is in maintenance until 2026-12-01T10:00:00Z; send the request again later.",
        ),
        (
            MaintenanceSpec(True, "We move.", NOW),
            "This gateway is in maintenance until 2026-12-01T10:00:00Z: We move.",
        ),
    ],
)
def test_the_sentence_has_the_operators_words(order: MaintenanceSpec, message: str) -> None:
    error = refusal(order, NOW)
    assert error.message == message
    assert (error.status, error.code, error.retryable) == (503, "MAINTENANCE", True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (NOW, "2026-12-01T10:00:00Z"),
        (NOW + 0.5, "2026-12-01T10:00:00.500Z"),
        (253_370_764_799.5, "9998-12-31T23:59:59.500Z"),
    ],
)
def test_times_are_utc(seconds: float, text: str) -> None:
    assert utc(seconds) == text


OFF: dict[str, Any] = {"enabled": False, "reason": None, "until": None, "retry_after_s": None}


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (
            State(MaintenanceSpec(True, "why", NOW + 60, 30), Source.ENDPOINT, NOW, False),
            {
                "enabled": True,
                "reason": "why",
                "until": "2026-12-01T10:01:00Z",
                "retry_after_s": 30,
                "set_by": "endpoint",
                "since": "2026-12-01T10:00:00Z",
                "configured": False,
            },
        ),
        (
            State(MaintenanceSpec(False), Source.UNTIL, NOW, True),
            OFF | {"set_by": "until", "since": "2026-12-01T10:00:00Z", "configured": True},
        ),
        (
            State(MaintenanceSpec(False), Source.SETTING, NOW, False),
            OFF | {"set_by": "setting", "since": "2026-12-01T10:00:00Z", "configured": False},
        ),
    ],
)
def test_the_whole_state(state: State, shown: dict[str, Any]) -> None:
    assert state.to_json() == shown
