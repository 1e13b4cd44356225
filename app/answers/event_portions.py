"""Portions of a batch of events: as much as may be done at once while other answers wait. Pure.

A flood of deltas is one batch, and one delta may be as long as a line of the child. A text that is too long for one
portion is cut; one that a model writes is never as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.backend.events import PIECES, Event
from app.errors import GatewayError

MOST_EVENTS = 128
MOST_CHARACTERS = 64 * 1024

Batch = Sequence[Event] | GatewayError


def portions(batch: Batch) -> Iterator[Batch]:
    """Yield the events of a batch in their order, a few at a time; an error as it is."""
    if isinstance(batch, GatewayError) or (batch and _is_small(batch)):
        yield batch
        return
    portion: list[Event] = []
    size = 0
    for event in batch:
        for piece in _pieces(event):
            portion.append(piece)
            size += _length(piece)
            if size >= MOST_CHARACTERS or len(portion) >= MOST_EVENTS:
                yield portion
                portion, size = [], 0
    if portion:
        yield portion


def _is_small(batch: Sequence[Event]) -> bool:
    """Return True for one portion, as nearly every batch is."""
    if len(batch) > MOST_EVENTS:
        return False
    return sum([len(event.text) for event in batch if isinstance(event, PIECES)]) <= MOST_CHARACTERS


def _pieces(event: Event) -> Iterator[Event]:
    if not isinstance(event, PIECES) or len(event.text) <= MOST_CHARACTERS:
        yield event
        return
    for start in range(0, len(event.text), MOST_CHARACTERS):
        yield replace(event, text=event.text[start : start + MOST_CHARACTERS])


def _length(event: Event) -> int:
    return len(event.text) if isinstance(event, PIECES) else 0
