"""History of a thread, in pieces that the child reads in a moment, and what it costs the child to hold it. Pure.

The child has one reader: while it parses a line, it answers nobody else, and the streams of others may wait for a
processor. Measured on two processors: 1 MB of text takes 30 ms, 1,000 items 60 ms, 29 MB of text in one item 0.9 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from app.backend.request import Item, characters
from app.budget import SharedBudget, Shares
from app.errors import WorkerBusy

PIECE_BYTES = 1 << 20
PIECE_ENTRIES = 500
"""Items, and parts of their content."""

_HEAVY_BYTES = PIECE_BYTES // 4
_HEAVY_ENTRIES = PIECE_ENTRIES // 4
_ITEM_BYTES = 2048
_PART_BYTES = 1024
"""What an item, and each part of it, cost the child beside their texts while it works on them (measured: 2.1 KB for a
call or its result, 2.7 KB for a message of one part, 1.0 KB for each more). At rest they are a quarter to a half less.
Texts are their own size then, and the model's encrypted reasoning is a text."""

_SUSPECT_BYTES = 4 << 20
"""More than what nearly every conversation takes, and less than what was ever seen to stop a child."""

HELD_BYTES = 512 << 20
"""Of all threads together. Text takes up to three times as much of the child's memory while it is sent, so that it
stays below the limit at which a child is replaced (`WORKER_MEMORY_LIMIT_BYTES`)."""

_IMAGE = "input_image"
_PLAIN = frozenset({"message", "function_call", "function_call_output"})
_FRAME_BYTES = 100  # of an item's JSON beside its texts, about


@dataclass(frozen=True, slots=True)
class Piece:
    """Items for one call: about how many bytes they are, how many entries, and whether there are images to decode."""

    items: tuple[Item, ...]
    size: int
    entries: int
    has_images: bool = False

    @property
    def held_bytes(self) -> int:
        """About how many bytes they cost the child."""
        parts = self.entries - len(self.items)
        return self.size + _ITEM_BYTES * len(self.items) + _PART_BYTES * parts

    @property
    def is_heavy(self) -> bool:
        """True if the child takes its time over it."""
        is_large = self.size > _HEAVY_BYTES or self.entries > _HEAVY_ENTRIES
        return is_large or self.has_images


@dataclass(frozen=True, slots=True)
class Load:
    """What one thread asks of the child: its history in pieces, and the bytes of its tools and its output schema.

    `before` is what a kept thread holds already.
    """

    pieces: tuple[Piece, ...]
    offered: int
    before: int = 0

    @property
    def is_offer_heavy(self) -> bool:
        """True if the child takes its time over the tools, which it does again with every call for the thread."""
        return self.offered > _HEAVY_BYTES

    @property
    def is_heavy(self) -> bool:
        """True if the child takes its time over the whole, when it writes it to the upstream."""
        is_long = self.before > _HEAVY_BYTES or len(self.pieces) > 1
        return self.is_offer_heavy or is_long or any(p.is_heavy for p in self.pieces)

    @property
    def is_plain(self) -> bool:
        """True if the child reads it in a moment and does not refuse it: texts, calls and their results."""
        if len(self.pieces) != 1 or self.is_heavy:
            return False
        return all(item.get("type") in _PLAIN for item in self.pieces[0].items)

    @property
    def held_bytes(self) -> int:
        """About how many bytes the thread costs the child."""
        return (self.before or self.offered) + sum(piece.held_bytes for piece in self.pieces)

    @property
    def is_suspect(self) -> bool:
        """True if a child that went away meanwhile may have done so because of it."""
        return self.is_offer_heavy or self.held_bytes > _SUSPECT_BYTES


def history_budget() -> SharedBudget:
    """Return the budget of what all threads of one worker hold in its children."""
    return SharedBudget(Shares(HELD_BYTES, is_split=True), _too_much)


def _too_much(is_share: bool) -> WorkerBusy:  # noqa: FBT001  (called by a budget)
    whose = "of your key " if is_share else ""
    return WorkerBusy(
        f"The conversations {whose}that are being answered are as large as this gateway can hold; try again shortly.",
        code="PROMPTS_FULL",
    )


def in_pieces(items: Iterable[Item]) -> Iterator[Piece]:
    """Yield the items in order, in few pieces. An item is never split, and one with images is alone.

    Linear: about 1 µs a value, whatever its length.
    """
    batch: list[Piece] = []
    size = entries = 0
    for one in map(_measured, items):
        is_full = size + one.size > PIECE_BYTES or entries + one.entries > PIECE_ENTRIES
        if batch and (is_full or one.has_images or batch[-1].has_images):
            yield _joined(batch)
            batch, size, entries = [], 0, 0
        batch.append(one)
        size, entries = size + one.size, entries + one.entries
    if batch:
        yield _joined(batch)


def is_light(items: Iterable[Item]) -> bool:
    """Return True for items over which the child takes no time."""
    pieces = list(in_pieces(items))
    return len(pieces) == 1 and not pieces[0].is_heavy


def entry_bytes(item: Item) -> int:
    """Return about how many bytes an item costs the child beside its texts."""
    return _ITEM_BYTES + _PART_BYTES * sum(map(len, _lists_of(item)))


def _joined(batch: list[Piece]) -> Piece:
    if len(batch) == 1:
        return batch[0]
    items = tuple(item for one in batch for item in one.items)
    return Piece(items, sum(one.size for one in batch), sum(one.entries for one in batch))


def _measured(item: Item) -> Piece:
    lists = _lists_of(item)
    has_images = any(part.get("type") == _IMAGE for parts in lists for part in parts)
    entries = 1 + sum(map(len, lists))
    return Piece((item,), _FRAME_BYTES + characters(item), entries, has_images=has_images)


def _lists_of(item: Item) -> list[list[Any]]:
    return [parts for parts in (item.get("content"), item.get("output")) if isinstance(parts, list)]
