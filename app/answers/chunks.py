"""What an answer is made of, before any endpoint gives it a shape: small frozen pieces, in order. Pure.

Every piece names its choice. Streams and whole answers are both made from the same pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from app.backend.events import Usage


@dataclass(frozen=True, slots=True)
class Role:
    """A choice begins."""

    index: int


@dataclass(frozen=True, slots=True)
class Content:
    """A piece of text, as the upstream sent it."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of the model's reasoning."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model's own words for not answering."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole call; `number` counts the calls of one choice. `arguments` is verbatim, maybe no JSON at all."""

    index: int
    number: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Finish:
    """A choice ends."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """What this choice has said so far does not count: it begins anew."""

    index: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the whole answer cost."""

    usage: Usage


Chunk: TypeAlias = Role | Content | Reasoning | Refusal | ToolCall | Finish | Restarted | Tokens

VISIBLE = (Content, Reasoning, Refusal, ToolCall)
"""What a client sees of an answer. A role is none of it: it says only that there will be an answer."""


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
        if isinstance(chunk, Role | Tokens) or place > begins.get(chunk.index, -1)
    ]
