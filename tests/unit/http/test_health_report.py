"""The service in one word: the child's state and the maintenance flag together."""

from __future__ import annotations

import pytest

from app.backend.health import Health
from app.http.health_report import is_answering, word_of
from app.http.maintenance_flag import Maintenance

OPEN, CLOSED = Maintenance(False), Maintenance(True, "We move.")


def status(reason: str | None) -> Health:
    return Health(
        ready=reason is None,
        degraded=reason == "degraded",
        reason=reason,
        state="ready",
        generation=1,
        pid=1,
        user_agent="",
        restarts=0,
        failures=0,
        backoff_ms=0,
        handshake_ms=None,
        last_exit=None,
        retiring=0,
        running=0,
        waiting=0,
        counters={},
    )


@pytest.mark.parametrize(
    ("reason", "order", "answers", "word"),
    [
        (None, OPEN, True, ("ok", None)),
        ("starting", OPEN, False, ("starting", "starting")),
        ("backoff", OPEN, False, ("starting", "backoff")),
        ("degraded", OPEN, False, ("degraded", "degraded")),
        ("upstream_auth", OPEN, False, ("degraded", "upstream_auth")),
        ("draining", OPEN, False, ("draining", "draining")),
        (None, CLOSED, True, ("maintenance", "We move.")),
        (None, Maintenance(True), True, ("maintenance", None)),
        ("starting", CLOSED, True, ("maintenance", "We move.")),
        ("degraded", CLOSED, True, ("maintenance", "We move.")),
        ("upstream_auth", CLOSED, True, ("maintenance", "We move.")),
        ("draining", CLOSED, False, ("draining", "draining")),
    ],
)
def test_one_word(
    reason: str | None, order: Maintenance, answers: bool, word: tuple[str, str | None]
) -> None:
    assert is_answering(status(reason), order) is answers
    assert word_of(status(reason), order) == word
