"""Attacks with compressed bodies: bombs of every kind, and what costs a decoder time or memory and makes nothing."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from functools import partial

from tests.chaos.attacks import held
from tests.chaos.target import FLOOD_S, Target, chat
from tests.fakes.compressed import (
    MIB,
    brotli_bomb,
    deflate_bomb,
    gzip_bomb,
    many_frames,
    tables,
    zstd_bomb,
    zstd_without_text,
)

_TEN = 10_000_000
"""Bytes of a bomb that would become 10 GB and more."""

_LONGEST = 32 * MIB
_AT_ONCE = 4
_DRIPS = 600


def _bombs(coding: str, *bodies: Callable[[], bytes]) -> Callable[[Target], None]:
    """Send each body several times at once, and one after the other."""

    def attack(target: Target) -> None:
        for make in bodies:
            body = make()
            target.send_requests([target.head(coding=coding, length=len(body)) + body] * _AT_ONCE)

    return attack


def many_small_bombs(target: Target) -> None:
    """Each as large as a body may be, from some bytes."""
    body = zstd_bomb(1100)
    target.send_requests([target.head(coding="zstd", length=len(body)) + body] * 200)


def compressed_bodies_dripped(target: Target) -> None:
    """One byte of each, of which much could come; in one of them it is a frame with a large window."""
    bodies = [gzip_bomb(20), brotli_bomb(20), zstd_bomb(20)]
    heads = [
        target.head(coding=coding, length=_TEN) + body
        for coding, body in zip(("gzip", "br", "zstd"), bodies, strict=True)
    ]
    with held(target, [heads[n % 3] for n in range(_DRIPS)]) as connections:
        ends_at = time.monotonic() + FLOOD_S
        while time.monotonic() < ends_at:
            for connection in connections:
                connection.send(b"\0")


def long_compressed_texts(target: Target) -> None:
    """The longest bodies that are read, as many at once as where they are plain."""
    text = chat(messages=[{"role": "user", "content": "words " * 1_747_000}] * 3)
    body = gzip.compress(text, 1)
    target.send_requests([target.head(coding="gzip", length=len(body)) + body] * 3)


BOMBS: dict[str, Callable[[Target], None]] = {
    "gzip_bombs": _bombs("gzip", partial(gzip_bomb, _TEN)),
    "deflate_bombs": _bombs("deflate", partial(deflate_bomb, _TEN)),
    "brotli_bombs": _bombs("br", partial(brotli_bomb, _TEN)),
    "zstd_bombs": _bombs("zstd", partial(zstd_bomb, _TEN)),
    "zstd_windows_of_2_gib": _bombs("zstd", partial(zstd_bomb, _TEN, 31)),
    "bombs_in_bombs": _bombs(
        "gzip, gzip, gzip",
        lambda: gzip.compress(gzip.compress(gzip_bomb(_LONGEST))),
        lambda: gzip.compress(gzip_bomb(_LONGEST // 2)),
    ),
    "frames_by_the_million": _bombs("zstd", partial(many_frames, "zstd", _LONGEST)),
    "members_by_the_million": _bombs("gzip", partial(many_frames, "gzip", _LONGEST)),
    "blocks_without_text": _bombs("zstd", partial(zstd_without_text, _LONGEST)),
    "tables_by_the_hundred_thousand": _bombs("deflate", partial(tables, _LONGEST)),
    "many_small_bombs": many_small_bombs,
    "compressed_bodies_dripped": compressed_bodies_dripped,
    "long_compressed_texts": long_compressed_texts,
}
