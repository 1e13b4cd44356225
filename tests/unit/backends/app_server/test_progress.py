"""When an answer is whole although its end was not told."""

from typing import Any

import pytest

from app.backend.events import (
    NO_USAGE,
    Event,
    MessageBegan,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    TextDelta,
    UsageUpdated,
)
from app.backends.app_server.progress import Progress

SAID = TextDelta("m", "a")
COMPLETED = ResponseCompleted(None)


def item(kind: str, **members: Any) -> RawItem:
    return RawItem({"type": kind, **members})


MESSAGE, CALL = item("message"), item("function_call")

ROWS: list[tuple[list[Event], bool, bool]] = [
    ([], False, False),
    ([SAID], False, False),
    ([SAID, MESSAGE], True, False),
    ([SAID, MESSAGE, UsageUpdated(NO_USAGE)], True, False),
    ([SAID, MESSAGE, COMPLETED], True, True),
    ([SAID, MESSAGE, COMPLETED, UsageUpdated(NO_USAGE)], True, True),
    ([COMPLETED], False, False),
    ([item("message", phase="final_answer"), COMPLETED], True, True),
    # Something follows, or may.
    ([item("message", phase="commentary"), COMPLETED], False, False),
    ([item("message", phase="partial_answer"), COMPLETED], False, False),
    ([MESSAGE, item("reasoning"), COMPLETED], False, False),
    ([item("message", role="developer"), COMPLETED], False, False),
    ([MESSAGE, MessageBegan("n")], False, False),
    ([MESSAGE, COMPLETED, ReasoningDelta("r")], False, False),
    # codex answers a call that nobody offered by itself, and the model goes on in another response.
    ([CALL, MESSAGE, COMPLETED], True, False),
    ([MESSAGE, CALL, COMPLETED], False, False),
    ([item("custom_tool_call"), COMPLETED, MESSAGE], True, False),
    ([CALL, COMPLETED, MESSAGE, COMPLETED], True, True),
]


@pytest.mark.parametrize(("events", "is_whole", "is_settled"), ROWS)
def test_an_answer_is(events: list[Event], *, is_whole: bool, is_settled: bool) -> None:
    progress = Progress()
    for event in events:
        progress.note(event)
    assert (progress.is_whole, progress.is_settled) == (is_whole, is_settled)
