"""The maintenance flag as a person reads it."""

from __future__ import annotations

from typing import Any

import pytest

from app.cli.maintenance import describe

OFF: dict[str, Any] = {
    "enabled": False,
    "reason": None,
    "until": None,
    "retry_after_s": None,
    "set_by": "setting",
    "since": "2026-12-01T09:00:00Z",
    "configured": False,
}
ON = OFF | {
    "enabled": True,
    "reason": "We move.",
    "until": "2026-12-01T10:00:00Z",
    "retry_after_s": 30,
    "set_by": "endpoint",
}


@pytest.mark.parametrize(
    ("state", "rows"),
    [
        (
            OFF,
            [
                ("maintenance", "off since 2026-12-01T09:00:00Z, set by PROXY_MAINTENANCE_MODE"),
                ("setting", "PROXY_MAINTENANCE_MODE=false"),
            ],
        ),
        (
            ON,
            [
                ("maintenance", "on since 2026-12-01T09:00:00Z, set by an operator"),
                ("until", "2026-12-01T10:00:00Z"),
                ("retry after", "30 s"),
                ("reason", "We move."),
                ("setting", "PROXY_MAINTENANCE_MODE=false"),
            ],
        ),
        (
            OFF | {"set_by": "until", "configured": True},
            [
                ("maintenance", "off since 2026-12-01T09:00:00Z, set by its own end"),
                ("setting", "PROXY_MAINTENANCE_MODE=true"),
            ],
        ),
    ],
)
def test_the_state_in_words(state: dict[str, Any], rows: list[tuple[str, str]]) -> None:
    assert list(describe(state)) == rows
