"""Which events say that an upstream cannot be reached, and in which words."""

from __future__ import annotations

import pytest

from app.backend.events import Event, Retrying, TextDelta, TurnEnded, TurnFailure, TurnStatus
from app.codex.upstream_failures import unreachable_words

SENDING = "error sending request"
BROKEN = f"stream disconnected before completion: {SENDING}"
WAITING = TurnFailure(
    "Reconnecting... waiting for network", details=f"Connection failed: {SENDING}"
)


def failed(message: str, status: int | None = None) -> TurnEnded:
    return TurnEnded(TurnStatus.FAILED, TurnFailure(message, http_status=status))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Retrying(WAITING), f"Connection failed: {SENDING}"),
        (Retrying(TurnFailure("Reconnecting... 1/5")), "Reconnecting... 1/5"),
        (
            Retrying(TurnFailure("Reconnecting... 1/5", details="a user's words")),
            "Reconnecting... 1/5",
        ),
        (failed(BROKEN), BROKEN),
        (failed(f"Connection failed: {SENDING}"), f"Connection failed: {SENDING}"),
        (failed(f"{SENDING} for url (http://me:pw@h/v1?k=v)"), f"{SENDING} for url (http://h/v1)"),
        (failed("unexpected status 502: error sending request", 502), ""),
        (failed("stream disconnected before completion: what the user wrote"), ""),
        (failed('{"error": {"message": "error sending request"}}'), ""),
        (TurnEnded(TurnStatus.COMPLETED), ""),
        (TextDelta("i", SENDING), ""),
    ],
)
def test_words(event: Event, words: str) -> None:
    assert unreachable_words(event) == words
