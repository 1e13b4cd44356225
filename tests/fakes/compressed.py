"""Compressed bodies as clients send them, and bombs: made from parts that are repeated, so that they cost nothing."""

from __future__ import annotations

import gzip
import random
import struct
import sys
import zlib
from collections.abc import Callable
from functools import partial

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    """A stream of deflate without zlib's head, as some servers and clients send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def streamed_zstd(data: bytes) -> bytes:
    """As programs write that do not know beforehand how much there will be: the codex CLI, for one."""
    packer = zstd.ZstdCompressor()
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": partial(brotli.compress, quality=4),
    "zstd": zstd.compress,
}


def _deflated_part(data: bytes, head: int) -> tuple[bytes, bytes]:
    """Return the beginning of a stream, and a part that can follow itself for ever."""
    packer = zlib.compressobj(9, zlib.DEFLATED, head)
    beginning = packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)
    return beginning, packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def _repeated(beginning: bytes, part: bytes, size: int) -> bytes:
    return beginning + part * ((size - len(beginning)) // len(part))


def gzip_bomb(size: int) -> bytes:
    """A thousand times as large, once it is decompressed."""
    return _repeated(*_deflated_part(bytes(MIB), 16 + zlib.MAX_WBITS), size)


def deflate_bomb(size: int) -> bytes:
    """The same without a checksum."""
    return _repeated(*_deflated_part(bytes(MIB), zlib.MAX_WBITS), size)


def brotli_bomb(size: int) -> bytes:
    """A hundred thousand times as large."""
    packer = brotli.Compressor(lgwin=24)
    beginning = packer.process(bytes(MIB)) + packer.flush()
    return _repeated(beginning, packer.process(bytes(MIB)) + packer.flush(), size)


_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_RLE = 1


def zstd_bomb(size: int, window_log: int = 23) -> bytes:
    """Blocks of four bytes that stand for 128 KiB each, in a frame with a window of 2 ** `window_log` bytes."""
    block = (128 << 10) << 3 | _RLE << 1
    head = _ZSTD_MAGIC + bytes([0, window_log - 10 << 3])
    return _repeated(head, struct.pack("<I", block)[:3] + b"\0", size)


def zstd_without_text(size: int) -> bytes:
    """A frame of nothing but empty blocks."""
    return _repeated(_ZSTD_MAGIC + bytes([0, 13 << 3]), b"\0\0\0", size)


def many_frames(name: str, size: int) -> bytes:
    """Empty frames, one behind the other."""
    return _repeated(b"", PACKERS[name](b""), size)


def tables(size: int) -> bytes:
    """A stream of deflate in which each few bytes of text have tables of their own."""
    text = bytes(random.Random(7).choices(range(256), range(256), k=300))
    return _repeated(*_deflated_part(text, zlib.MAX_WBITS), size)
