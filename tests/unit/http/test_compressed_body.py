"""Decompression of bodies: bounded while it goes on, and counted as what it is."""

from __future__ import annotations

import gzip
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from app.budget import Reservation
from app.errors import BodyTooLarge, InvalidRequest, TooManyValues, WorkerBusy
from app.http.body_budget import BLOCK_BYTES, BodyBudget
from app.http.compressed_body import Bounds, decompress
from app.http.content_codings import codings_of
from tests.fakes.compressed import (
    MIB,
    PACKERS,
    brotli_bomb,
    deflate_bomb,
    gzip_bomb,
    tables,
    zstd_bomb,
    zstd_without_text,
)

LIMIT = 4 * MIB
TEXT = b"words and more words " * 100_000
NOISE = random.Random(3).randbytes(2 * MIB)


class Portions:
    """Stands for the thread: notes before each call what is held by then, which must be what is made by then."""

    def __init__(self, memory: Reservation) -> None:
        self.memory = memory
        self.held: list[int] = []
        self.made = 0

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.held.append(self.memory.amount)
        assert self.memory.amount >= self.made
        portion, is_over = function(*args, **kwargs)
        self.made = 0 if is_over else self.made + sum(map(len, portion))
        return portion, is_over


def unchecked(_: bytes) -> None:
    """Look at nothing."""


def of_budget(limit: int = 64 * MIB) -> Reservation:
    return BodyBudget(limit, 8).memory.reserve("key", 0)


def take_off(
    header: str,
    data: bytes,
    memory: Reservation,
    *,
    limit: int = LIMIT,
    check: Callable[[bytes], None] = unchecked,
) -> tuple[bytes, list[int]]:
    blocks = deque(data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES))
    memory.grow(len(data))
    portions = Portions(memory)
    made = decompress(blocks, codings_of(header), Bounds(limit, memory, check), portions)
    assert not blocks
    return b"".join(made), portions.held


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("text", [b"", b"{}", TEXT, NOISE])
def test_in_the_end_what_it_became_is_held_and_nothing_else(name: str, text: bytes) -> None:
    memory = of_budget()
    assert take_off(name, PACKERS[name](text), memory)[0] == text
    assert memory.amount == len(text)


def test_codings_are_taken_off_one_after_the_other() -> None:
    packed = PACKERS["zstd"](PACKERS["br"](PACKERS["gzip"](TEXT)))
    memory = of_budget()
    assert take_off("gzip, br, zstd", packed, memory)[0] == TEXT
    assert memory.amount == len(TEXT)


@pytest.mark.parametrize("text", [TEXT, NOISE])
def test_meanwhile_what_is_there_is_held(text: bytes) -> None:
    memory = of_budget()
    packed = PACKERS["gzip"](text)
    _, held = take_off("gzip", packed, memory)
    assert held[0] == len(packed)
    assert len(held) >= 2
    # How much a portion is depends on the time that it takes.
    assert all(0 < amount <= LIMIT + BLOCK_BYTES for amount in held[1:])


def test_the_memory_of_a_decoder_counts_and_the_longest_body_always_has_room() -> None:
    memory = of_budget(LIMIT + BLOCK_BYTES)
    made, held = take_off("br", PACKERS["br"](bytes(LIMIT)), memory)
    assert len(made) == memory.amount == LIMIT
    assert max(held) > 2 * MIB + MIB // 2, "what was made, and as much in the decoder"
    assert max(held) <= LIMIT + BLOCK_BYTES


@pytest.mark.parametrize(
    ("name", "bomb"),
    [("gzip", gzip_bomb), ("deflate", deflate_bomb), ("br", brotli_bomb), ("zstd", zstd_bomb)],
)
@pytest.mark.parametrize("over", ["", "gzip"])
def test_a_bomb_is_refused_as_soon_as_it_is_too_large(
    name: str, bomb: Callable[[int], bytes], over: str
) -> None:
    data = bomb(2 * MIB)
    memory = of_budget()
    made: list[int] = []
    header = ", ".join(filter(None, (name, over)))
    with pytest.raises(BodyTooLarge, match="once it is decompressed"):
        take_off(
            header,
            gzip.compress(data) if over else data,
            memory,
            check=lambda piece: made.append(len(piece)),
        )
    assert sum(made) <= LIMIT + MIB + BLOCK_BYTES
    assert memory.amount <= LIMIT + BLOCK_BYTES


def test_a_coding_below_another_one_has_the_same_limit() -> None:
    packed = gzip.compress(gzip_bomb(2 * MIB))
    with pytest.raises(BodyTooLarge):
        take_off("gzip, gzip", packed, of_budget(), limit=MIB)


def test_a_portion_is_bounded_in_what_it_makes_and_in_time() -> None:
    _, held = take_off("zstd", PACKERS["zstd"](bytes(LIMIT)), of_budget())
    assert len(held) >= 4
    memory = of_budget()
    memory.grow(0)
    with pytest.raises(InvalidRequest, match="ends before"):
        take_off("zstd", zstd_without_text(3 * MIB), memory)
    with pytest.raises((InvalidRequest, BodyTooLarge)):
        take_off("deflate", tables(3 * MIB), of_budget())


def test_where_there_is_no_memory_for_it_it_is_refused_and_can_come_again() -> None:
    memory = of_budget(MIB)
    with pytest.raises(WorkerBusy) as refused:
        take_off("gzip", PACKERS["gzip"](bytes(3 * MIB)), memory)
    assert refused.value.code == "BODIES_FULL"
    assert memory.amount <= MIB


def test_pieces_are_looked_at_while_they_are_made_and_only_those_of_the_text() -> None:
    seen: list[int] = []

    def check(piece: bytes) -> None:
        seen.append(len(piece))
        if sum(seen) > MIB:
            raise TooManyValues("many")

    packed = gzip.compress(gzip.compress(bytes(3 * MIB)))
    memory = of_budget()
    with pytest.raises(TooManyValues):
        take_off("gzip, gzip", packed, memory, check=check)
    assert MIB < sum(seen) <= MIB + BLOCK_BYTES
