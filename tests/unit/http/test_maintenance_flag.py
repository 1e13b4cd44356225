"""What a client and an operator are told of the maintenance flag."""

from __future__ import annotations

from typing import Any

import pytest

from app.http.maintenance_flag import Maintenance, Source, utc

NOW = 1_796_119_200.0  # 2026-12-01T10:00:00Z


@pytest.mark.parametrize(
    ("order", "seconds"),
    [
        (Maintenance(True), None),
        (Maintenance(True, retry_after_s=7), 7),
        (Maintenance(True, until=NOW + 60), 60),
        (Maintenance(True, until=NOW + 59.2), 60),
        (Maintenance(True, until=NOW + 0.01), 1),
        (Maintenance(True, until=NOW - 1), 1),
        (Maintenance(True, until=NOW + 10**6), 86_400),
        (Maintenance(True, until=NOW + 60, retry_after_s=7), 7),
        (Maintenance(True, until=NOW + 1, retry_after_s=7), 7),
    ],
)
def test_how_long_a_client_shall_wait(order: Maintenance, seconds: int | None) -> None:
    assert order.refusal(NOW).retry_after_s == (seconds or 30)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Maintenance(True), "This gateway is in maintenance; send the request again later."),
        (Maintenance(True, "We move."), "This gateway is in maintenance: We move."),
        (
            Maintenance(True, until=NOW),
            "This gateway is in maintenance until 2026-12-01T10:00:00Z; send the request again later.",
        ),
        (
            Maintenance(True, "We move.", NOW),
            "This gateway is in maintenance until 2026-12-01T10:00:00Z: We move.",
        ),
    ],
)
def test_the_sentence_has_the_operators_words(order: Maintenance, message: str) -> None:
    error = order.refusal(NOW)
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
            Maintenance(True, "why", NOW + 60, 30, Source.ENDPOINT, NOW, False),
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
            Maintenance(False, set_by=Source.UNTIL, since=NOW, configured=True),
            OFF | {"set_by": "until", "since": "2026-12-01T10:00:00Z", "configured": True},
        ),
        (
            Maintenance(False, set_by=Source.SETTING, since=NOW, configured=False),
            OFF | {"set_by": "setting", "since": "2026-12-01T10:00:00Z", "configured": False},
        ),
    ],
)
def test_the_whole_state(state: Maintenance, shown: dict[str, Any]) -> None:
    assert state.to_json() == shown
