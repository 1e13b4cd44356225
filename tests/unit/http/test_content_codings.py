"""Content codings: what is read, what is refused, and that no more is made at a time than was asked for."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections import deque
from collections.abc import Callable

import brotli
import pytest

from app.errors import InvalidRequest, UnsupportedContentEncoding
from app.http.content_codings import PIECE_BYTES, codings_of, decoded
from tests.fakes.compressed import (
    PACKERS,
    brotli_bomb,
    deflate_bomb,
    gzip_bomb,
    many_frames,
    raw_deflate,
    streamed_zstd,
    zstd_bomb,
    zstd_without_text,
)

TEXT = json.dumps({"input": [f"{n} words, and more words" for n in range(20_000)]}).encode()
NOISE = random.Random(3).randbytes(300_000)
SHORT = b"{}"


def cut(data: bytes, size: int) -> deque[bytes]:
    return deque(data[at : at + size] for at in range(0, len(data), size))


def taken_off(name: str, data: bytes, size: int = PIECE_BYTES) -> bytes:
    (coding,) = codings_of(name)
    pieces = [*decoded(coding, cut(data, size))]
    assert max(map(len, pieces)) <= PIECE_BYTES
    return b"".join(pieces)


def refused(name: str, data: bytes, size: int = PIECE_BYTES) -> str:
    with pytest.raises(InvalidRequest) as error:
        taken_off(name, data, size)
    assert (error.value.status, error.value.code) == (400, "INVALID_ENCODING")
    return error.value.message


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("text", [b"", b"x", SHORT, TEXT, NOISE, bytes(PIECE_BYTES * 3)])
def test_what_was_compressed_comes_out_as_it_was(name: str, text: bytes) -> None:
    assert taken_off(name, PACKERS[name](text)) == text


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_it_may_be_cut_anywhere(name: str, size: int) -> None:
    text = TEXT[:20_000]
    assert taken_off(name, PACKERS[name](text), size) == text


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("deflate", raw_deflate),
        ("zstd", streamed_zstd),
        ("br", lambda data: brotli.compress(data, quality=1)),
        ("gzip", lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:])),
        ("zstd", lambda data: streamed_zstd(data[:99]) + PACKERS["zstd"](data[99:])),
        ("GZIP", gzip.compress),
    ],
)
@pytest.mark.parametrize("size", [1, PIECE_BYTES])
@pytest.mark.parametrize("text", [SHORT * 100, TEXT[:50_000], NOISE[:50_000]])
def test_other_ways_to_write_it(
    name: str, pack: Callable[[bytes], bytes], size: int, text: bytes
) -> None:
    assert taken_off(name, pack(text), size) == text


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("size", [1, PIECE_BYTES])
def test_what_is_cut_off_is_called_so(name: str, size: int) -> None:
    whole = PACKERS[name](TEXT[:5_000])
    for end in (0, 1, len(whole) // 2, len(whole) - 1):
        assert "ends before the end" in refused(name, whole[:end], size), end


@pytest.mark.parametrize("name", PACKERS)
def test_what_is_no_such_thing_is_called_so(name: str) -> None:
    assert "damaged" in refused(name, TEXT)


@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_a_wrong_checksum_is_damage(name: str) -> None:
    whole = bytearray(PACKERS[name](TEXT))
    whole[-6 if name == "gzip" else -1] ^= 1
    assert "damaged" in refused(name, bytes(whole))


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("size", [1, PIECE_BYTES])
def test_nothing_may_stand_behind_the_end(name: str, size: int) -> None:
    message = refused(name, PACKERS[name](SHORT) + b"{}{}{}{}", size)
    assert "damaged" in message or "behind the end" in message


def test_deflate_has_one_stream() -> None:
    assert "behind the end" in refused("deflate", zlib.compress(SHORT) * 2)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_frames_are_counted(name: str) -> None:
    frame = PACKERS[name](b"x")
    assert taken_off(name, frame * 1000) == b"x" * 1000
    assert "more than 1000" in refused(name, frame * 1001)
    assert "more than 1000" in refused(name, many_frames(name, 100_000))


@pytest.mark.parametrize(("window_log", "is_read"), [(23, True), (24, False), (31, False)])
def test_a_window_is_what_every_decoder_has_memory_for(window_log: int, *, is_read: bool) -> None:
    pieces = decoded(codings_of("zstd")[0], cut(zstd_bomb(10_000, window_log), PIECE_BYTES))
    if is_read:
        assert len(next(pieces)) == PIECE_BYTES
    else:
        with pytest.raises(InvalidRequest, match="8 MiB"):
            next(pieces)


@pytest.mark.parametrize(
    ("name", "bomb"),
    [("gzip", gzip_bomb), ("deflate", deflate_bomb), ("br", brotli_bomb), ("zstd", zstd_bomb)],
)
def test_a_bomb_is_made_piece_by_piece(name: str, bomb: Callable[[int], bytes]) -> None:
    blocks = cut(bomb(200_000), PIECE_BYTES)
    before = len(blocks)
    pieces = decoded(codings_of(name)[0], blocks)
    made = sum(len(next(pieces)) for _ in range(100))
    assert 40 * PIECE_BYTES <= made <= 100 * PIECE_BYTES
    assert len(blocks) == before - 1, "what is not needed yet is not touched"


def test_what_makes_nothing_comes_in_pieces_too() -> None:
    blocks = cut(zstd_without_text(PIECE_BYTES * 4), PIECE_BYTES)
    pieces = decoded(codings_of("zstd")[0], blocks)
    assert [next(pieces) for _ in range(8)] == [b""] * 8
    assert len(blocks) == 2


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("", []),
        (" identity , ", []),
        ("gzip", ["gzip"]),
        ("X-GZip", ["gzip"]),
        ("gzip, br", ["br", "gzip"]),
        ("deflate,identity,zstd, gzip", ["gzip", "zstd", "deflate"]),
    ],
)
def test_the_last_coding_is_taken_off_first(header: str, names: list[str]) -> None:
    assert [coding.name for coding in codings_of(header)] == names


@pytest.mark.parametrize("header", ["compress", "gzip, lzma", "gzip;q=1", "*", "gzip gzip"])
def test_what_is_not_known_is_refused_with_the_list(header: str) -> None:
    with pytest.raises(UnsupportedContentEncoding, match="one of gzip, deflate, br, zstd") as error:
        codings_of(header)
    assert header.rsplit(", ", maxsplit=1)[-1] in error.value.message


def test_a_long_name_is_not_repeated_whole_and_a_long_list_is_refused() -> None:
    with pytest.raises(UnsupportedContentEncoding) as error:
        codings_of("x" * 10_000)
    assert len(error.value.message) < 400
    with pytest.raises(UnsupportedContentEncoding, match="4 content codings"):
        codings_of("gzip, gzip, gzip, gzip")
