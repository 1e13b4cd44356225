"""Chunks: the pieces of an answer before any endpoint gives it a shape, small and never changed, in order. Pure.

Every chunk but `Cost` names its choice. In one choice at most one item is open at a time, so what belongs to an item
needs no address:

    Began  ( ItemBegan (Text | Refusal | ReasoningText)* ItemEnded
           | CallBegan CallArguments* ItemEnded
           | Working )*  Ended

`Rerouted` may come anywhere. `Restarted` takes back what the choice has said so far; `Cost` is the last chunk of a
complete answer. Streams and whole answers are both made from the same chunks. Those of text are not frozen like the
others: there is one for each token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from app.backend.events import Usage
from app.backend.request import Item


class ItemKind(Enum):
    """Kind of an item that has text."""

    MESSAGE = "message"
    REASONING = "reasoning"


class Cause(Enum):
    """Cause of a choice's end. What a client reads for it is the endpoint's word."""

    FINISHED = "finished"
    CALLS = "calls"
    STOP_SEQUENCE = "stop_sequence"
    TOKEN_LIMIT = "token_limit"  # noqa: S105 - no password
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class Began:
    """A choice begins."""

    index: int


@dataclass(frozen=True, slots=True)
class ItemBegan:
    """A message or a piece of reasoning begins. `item_id` is the upstream's, empty where it is not known.

    `phase` is the upstream's word for a message's part in the answer, None for no word.
    """

    index: int
    kind: ItemKind
    item_id: str = ""
    phase: str | None = None


@dataclass(slots=True)
class Text:
    """A piece of a message's text, as the upstream sent it."""

    index: int
    text: str


@dataclass(slots=True)
class TextPieces(Text):
    """Pieces of a message's text that came together: `text` is all of them. `singly` makes one `Text` of each."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model's own words for not answering, in a message."""

    index: int
    text: str


@dataclass(slots=True)
class ReasoningText:
    """A piece of the model's reasoning, of its summary or of the raw text. `part` tells one paragraph from another."""

    index: int
    text: str
    part: str = ""
    is_summary: bool = True


@dataclass(frozen=True, slots=True)
class CallBegan:
    """A call of one of the client's tools begins. `name` is the client's."""

    index: int
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A piece of a call's arguments, verbatim: the whole is maybe no JSON at all."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ItemEnded:
    """The open item is whole. `raw` is the upstream's, None where the gateway cut it or the upstream did not say."""

    index: int
    raw: Item | None = None


@dataclass(frozen=True, slots=True)
class Working:
    """The model says something that its client is not shown, or not yet."""

    index: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A choice ends."""

    index: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Restarted:
    """What this choice has said so far does not count: it begins anew."""

    index: int


@dataclass(frozen=True, slots=True)
class Rerouted:
    """Another model than the one that was asked for answers from here on."""

    index: int
    model: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What the whole answer cost."""

    usage: Usage


Chunk: TypeAlias = (
    Began
    | ItemBegan
    | Text
    | Refusal
    | ReasoningText
    | CallBegan
    | CallArguments
    | ItemEnded
    | Working
    | Ended
    | Restarted
    | Rerouted
    | Cost
)

VISIBLE = (Text, Refusal, ReasoningText, CallBegan, CallArguments)
"""What a client sees of an answer. `Began` is none of it: it says only that there will be an answer."""

_PIECE = 16 * 1024 // 6
"""Characters of a piece. Each is at most six bytes of JSON (an escape), so that a piece is at most 16 KiB."""

_BOOKKEEPING = (Began, Ended, Restarted, Rerouted, Cost)


def is_from_model(chunks: Sequence[Chunk]) -> bool:
    """Return True if any of the chunks comes from the model: bookkeeping can precede a failure."""
    return not all(isinstance(chunk, _BOOKKEEPING) for chunk in chunks)


def without_discarded(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Return the chunks without those that a later `Restarted` took back."""
    begins = {
        chunk.index: place for place, chunk in enumerate(chunks) if isinstance(chunk, Restarted)
    }
    if not begins:
        return list(chunks)
    return [
        chunk
        for place, chunk in enumerate(chunks)
        if isinstance(chunk, Began | Cost) or place > begins.get(chunk.index, -1)
    ]


def singly(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks with every piece of text by itself, for what tells of one piece at a time."""
    for chunk in chunks:
        if isinstance(chunk, TextPieces):
            for text in chunk.texts:
                yield Text(chunk.index, text)
        else:
            yield chunk


def in_pieces(text: str) -> Iterator[str]:
    """Yield a text that was handed over whole in pieces of at most 16 KiB as JSON, at least one.

    A message of a stream is one line, and readers have limits for a line, mostly of 64 KiB.
    """
    for start in range(0, len(text) or 1, _PIECE):
        yield text[start : start + _PIECE]
