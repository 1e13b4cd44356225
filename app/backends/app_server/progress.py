"""Progress of a turn's answer: whether it is whole, although codex has not said that the turn is over. Pure.

codex may lose the end of a turn. What was already whole is then still an answer. A response that is complete, with a
message at its end and no call in it, is followed by nothing but that end.
"""

from __future__ import annotations

from enum import Enum

from app.backend.events import (
    FINAL_ANSWER,
    Event,
    MessageBegan,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    TextDelta,
    TextRun,
)
from app.backend.request import Item


class _Last(Enum):
    NOTHING = "nothing"
    PIECE = "piece"
    MESSAGE = "message"
    OTHER = "other"


class Progress:
    """Fed with a turn's events, in order."""

    __slots__ = ("_has_calls", "_is_complete", "_last")

    def __init__(self) -> None:
        self._last = _Last.NOTHING
        self._has_calls = False  # in the response at hand
        self._is_complete = False

    def note(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case TextRun() | TextDelta() | ReasoningDelta() | MessageBegan():
                self._last, self._is_complete = _Last.PIECE, False
            case RawItem(item=item):
                self._last = _Last.MESSAGE if _is_answer(item) else _Last.OTHER
                self._has_calls = self._has_calls or str(item.get("type")).endswith("_call")
                self._is_complete = False
            case ResponseCompleted():
                # What codex answers a call with, the model answers in a response of its own.
                self._is_complete = not self._has_calls
                self._has_calls = False

    @property
    def is_whole(self) -> bool:
        """True if the last thing that came is a whole message that can be the answer."""
        return self._last is _Last.MESSAGE and not self._has_calls

    @property
    def is_settled(self) -> bool:
        """True if only the end of the turn can follow."""
        return self.is_whole and self._is_complete


def _is_answer(item: Item) -> bool:
    is_said = item.get("type") == "message" and item.get("role", "assistant") == "assistant"
    return is_said and item.get("phase") in (None, FINAL_ANSWER)
