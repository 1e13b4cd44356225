"""Portions of a batch of events: as much as may be done at once while other answers wait. Pure.

A flood of deltas is one batch, and one delta may be as long as a line of the child. A text that is too long for one
portion is cut; one that a model writes is never as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from app.backend.events import PIECES, Event, TextRun
from app.errors import GatewayError

MOST_EVENTS = 128
MOST_CHARACTERS = 64 * 1024

Batch = Sequence[Event] | GatewayError


def portions(batch: Batch, *, keeps_runs: bool) -> Iterator[Batch]:
    """Yield the events of a batch in their order, a few at a time; an error as it is.

    Each piece of a run counts as an event, and becomes one unless `keeps_runs`.
    """
    if isinstance(batch, GatewayError):
        yield batch
        return
    events = batch if keeps_runs else [piece for event in batch for piece in _singly(event)]
    count, size = _measure(events)
    if events and count <= MOST_EVENTS and size <= MOST_CHARACTERS:  # as nearly every batch is
        yield events
        return
    portion: list[Event] = []
    count = size = 0
    for part in chain.from_iterable(map(_parts, events)):
        more, length = _measure((part,))
        if size >= MOST_CHARACTERS or count + more > MOST_EVENTS:
            yield portion
            portion, count, size = [], 0, 0
        portion.append(part)
        count, size = count + more, size + length
    if portion:
        yield portion


def _singly(event: Event) -> Sequence[Event]:
    return event.pieces() if isinstance(event, TextRun) else (event,)


def _parts(event: Event) -> Iterator[Event]:
    """Yield an event in parts of which each is small enough for a portion."""
    count, size = _measure((event,))
    if size > MOST_CHARACTERS and isinstance(event, TextRun):
        for piece in event.pieces():
            yield from _parts(piece)
    elif size > MOST_CHARACTERS and isinstance(event, PIECES):
        for start in range(0, size, MOST_CHARACTERS):
            yield replace(event, text=event.text[start : start + MOST_CHARACTERS])
    elif count > MOST_EVENTS and isinstance(event, TextRun):
        for start in range(0, count, MOST_EVENTS):
            yield replace(event, texts=event.texts[start : start + MOST_EVENTS])
    else:
        yield event


def _measure(events: Sequence[Event]) -> tuple[int, int]:
    """Return how many events these count as, and the characters of their texts."""
    count = size = 0
    for event in events:
        if isinstance(event, TextRun):
            count += len(event.texts)
            size += sum([len(text) for text in event.texts])
        else:
            count += 1
            size += len(event.text) if isinstance(event, PIECES) else 0
    return count, size
