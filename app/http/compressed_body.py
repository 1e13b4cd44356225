"""Compressed bodies: decompressed beside the loop, in portions, and never into more than a body may have.

A body is here whole before any of it is decompressed, so a slow one costs what has come of it, and no decoder waits for
a client. What it becomes is counted portion by portion, in the budget of all bodies.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.budget import Reservation
from app.errors import BodyTooLarge
from app.http.body_budget import BLOCK_BYTES
from app.http.content_codings import Coding, decoded
from app.off_loop import Run

_PORTION_BYTES = 1 << 20
_PORTION_S = 0.01
"""After a portion it is the turn of another key. What only costs time, and makes nothing, is a portion, too."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a body may become: at most `limit` bytes, counted in `memory`, which is what the body holds.

    `check` looks at each piece, and raises where there shall be no more of them.
    """

    limit: int
    memory: Reservation
    check: Callable[[bytes], None]


def decompress(
    blocks: deque[bytes], codings: Sequence[Coding], bounds: Bounds, run: Run
) -> deque[bytes]:
    """Return what a body becomes without its codings, which are taken off in this order. Blocks.

    `blocks` are used up; `run` calls a function in a thread. Raises `BodyTooLarge` as soon as it is more than may be,
    also between two codings, `InvalidRequest` where it is not what its codings say, `WorkerBusy` where there is no
    memory left for it, and what `check` raises.
    """
    for place, coding in enumerate(codings, 1):
        pieces = decoded(coding, blocks)
        if place == len(codings):
            pieces = _checked(pieces, bounds.check)
        blocks = _collect(pieces, coding, blocks, bounds, run)
    return blocks


def _checked(pieces: Iterator[bytes], check: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in pieces:
        check(piece)
        yield piece


def _collect(
    pieces: Iterator[bytes], coding: Coding, left: deque[bytes], bounds: Bounds, run: Run
) -> deque[bytes]:
    """Return all pieces. `left` is what they are made from, as far as it is still there."""
    made: deque[bytes] = deque()
    size, is_over = 0, False
    while not is_over:
        portion, is_over = run(_next_portion, pieces)
        made += portion
        size += sum(map(len, portion))
        if size > bounds.limit:
            raise BodyTooLarge(
                f"The body is larger than this gateway accepts: {bounds.limit} bytes, once it is decompressed."
            )
        window = 0 if is_over else min(size, coding.window_bytes)
        takes = sum(map(len, left)) + size + window
        # For the longest body there is always room, and for this one, too.
        _hold(bounds.memory, min(takes, bounds.limit + BLOCK_BYTES))
    return made


def _next_portion(pieces: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """Return the next pieces, and whether they were the last. Blocks the thread that it runs in."""
    ends_at = time.monotonic() + _PORTION_S
    portion: list[bytes] = []
    size = 0
    for piece in pieces:
        if piece:
            portion.append(piece)
            size += len(piece)
        if size >= _PORTION_BYTES or time.monotonic() > ends_at:
            return portion, False
    return portion, True


def _hold(memory: Reservation, amount: int) -> None:
    more = amount - memory.amount
    if more > 0:
        memory.grow(more)
    else:
        memory.shrink(-more)
