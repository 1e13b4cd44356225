"""Events of a turn: what every backend reports, as objects that nobody changes. Pure.

Text comes piece by piece, items whole and verbatim; `TurnEnded` is the last event of a turn, always. Pieces of text are
not frozen like the others: there is one for each token, and a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from app.backend.request import characters

MAX_TOKENS = 2**40
"""Most tokens that are believed: more than any context window, and a number that every JSON reader knows exactly."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the upstream counted them.

    `cached_input` and `cache_write_input` (what was newly cached) are parts of `input`, `reasoning_output` of `output`.
    """

    input: int
    cached_input: int
    output: int
    reasoning_output: int
    total: int
    cache_write_input: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.cached_input + other.cached_input,
            self.output + other.output,
            self.reasoning_output + other.reasoning_output,
            self.total + other.total,
            self.cache_write_input + other.cache_write_input,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.input - other.input,
            self.cached_input - other.cached_input,
            self.output - other.output,
            self.reasoning_output - other.reasoning_output,
            self.total - other.total,
            self.cache_write_input - other.cache_write_input,
        )

    def bounded(self) -> Usage:
        """Return the usage itself where its figures can be true, else the nearest that can: nobody checks upstream."""
        figures = (self.input, self.output, self.total)
        given, said, total = [min(max(tokens, 0), MAX_TOKENS) for tokens in figures]
        cached = min(max(self.cached_input, 0), given)
        written = min(max(self.cache_write_input, 0), given)
        reasoned = min(max(self.reasoning_output, 0), said)
        nearest = Usage(given, cached, said, reasoned, max(total, given + said), written)
        return self if nearest == self else nearest


NO_USAGE = Usage(0, 0, 0, 0, 0)


COMMENTARY = "commentary"
FINAL_ANSWER = "final_answer"
"""Phases of a message that make a difference; `partial_answer`, and what is not known yet, do not."""


@dataclass(frozen=True, slots=True)
class MessageBegan:
    """A message of the model begins: an answer may hold several. `phase` is the upstream's word, None for no word.

    A backend that does not know when a message begins leaves it out: the message is then one without a phase.
    """

    item_id: str
    phase: str | None = None


@dataclass(slots=True)
class TextDelta:
    """A piece of a message, exactly as the upstream sent it."""

    item_id: str
    text: str


@dataclass(slots=True)
class TextRun:
    """Pieces of one message that came together, each exactly as the upstream sent it; at least one."""

    item_id: str
    texts: Sequence[str]

    def pieces(self) -> list[TextDelta]:
        """Return each piece as an event of its own."""
        return [TextDelta(self.item_id, text) for text in self.texts]


@dataclass(slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning (a summary, or the raw text where the upstream gives it).

    `part` tells one part of it from another: a summary has several, each a paragraph of its own. `item_id` is the
    upstream's, empty where it is not known.
    """

    text: str
    part: str = ""
    item_id: str = ""
    is_summary: bool = True


@dataclass(frozen=True, slots=True)
class ModelRerouted:
    """Another model than the one that was asked for answers from here on: the upstream decided so."""

    model: str


@dataclass(frozen=True, slots=True)
class UsageUpdated:
    """What the turn has cost so far."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class ResponseCompleted:
    """One upstream response is whole; a turn has more than one if codex answered a tool call by itself."""

    usage: Usage | None


@dataclass(frozen=True, slots=True)
class RawItem:
    """An output item as the upstream sent it, verbatim."""

    item: Mapping[str, Any]


class TurnStatus(Enum):
    """How codex says that a turn ended (`TurnStatus` of its schema, without `inProgress`)."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Reset:
    """When a limit starts again: at this Unix time, in so many seconds."""

    at: int
    in_s: int


@dataclass(frozen=True, slots=True)
class TurnFailure:
    """codex's reason (`TurnError`). `kind` is the name of `codexErrorInfo`, `http_status` what the upstream sent.

    `message` is bounded by the backend: the upstream's body is in it.

    `details` is what codex adds where it only waits for the network. `reset` is added to what codex says, where a limit
    of the account was reached (`app.codex.account.with_reset`).
    """

    message: str
    kind: str = "other"
    http_status: int | None = None
    reset: Reset | None = None
    details: str = ""


@dataclass(frozen=True, slots=True)
class Retrying:
    """codex could not reach the upstream and waits for it, for ever if need be (its own retries are switched off)."""

    failure: TurnFailure


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The last event of a turn."""

    status: TurnStatus
    failure: TurnFailure | None = None


EVENT_BYTES = 128
PIECES = (TextDelta, ReasoningDelta)
"""Events of one piece of text, of which there are many."""

TEXTS = (*PIECES, TextRun)
"""Events of text, of one piece or of several."""


def held_bytes(event: Event) -> int:
    """Return about how many bytes an event takes while it is held: its characters, and a little for itself.

    Linear in the number of an item's parts, not in their length.
    """
    if isinstance(event, PIECES):
        return EVENT_BYTES + len(event.text)
    if isinstance(event, TextRun):
        return sum(EVENT_BYTES + len(text) for text in event.texts)
    return EVENT_BYTES + (characters(event.item) if isinstance(event, RawItem) else 0)


Event: TypeAlias = (
    MessageBegan
    | TextDelta
    | TextRun
    | ReasoningDelta
    | ModelRerouted
    | UsageUpdated
    | ResponseCompleted
    | RawItem
    | Retrying
    | TurnEnded
)
