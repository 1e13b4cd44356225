"""Heads of images, with all that their size is read from, and nothing behind it."""

from __future__ import annotations

import struct


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


def jpeg_frame(width: int, height: int, components: int = 3, marker: int = 0xC0) -> bytes:
    length = 8 + 3 * components
    head = struct.pack(">BBHBHHB", 0xFF, marker, length, 8, height, width, components)
    return head + bytes(3 * components)


def jpeg(width: int, height: int, before: bytes = b"") -> bytes:
    return b"\xff\xd8" + before + jpeg_frame(width, height) + b"\xff\xd9"


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def gif_screen(width: int, height: int, *, colours: int = 2) -> bytes:
    """Colours are a power of two, or none."""
    packed = 0x80 | colours.bit_length() - 2 if colours else 0
    return b"GIF89a" + struct.pack("<HHBBB", width, height, packed, 0, 0) + bytes(3 * colours)


def gif_frame(width: int, height: int) -> bytes:
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0)


def gif(width: int, height: int) -> bytes:
    return gif_screen(width, height) + gif_frame(width, height)


def _webp(kind: bytes, content: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_lossy(width: int, height: int) -> bytes:
    return _webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", width, height))


def webp_lossless(width: int, height: int) -> bytes:
    """A whole image: one of a single colour needs no more."""
    packed = (width - 1) | (height - 1) << 14
    return _webp(b"VP8L", b"\x2f" + struct.pack("<I", packed) + b"\x88\x88\x08")


def webp_extended(width: int, height: int) -> bytes:
    sizes = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return _webp(b"VP8X", bytes(4) + sizes)
