"""Dimensions of an image, read from its bytes, and how many pixels are let through. Pure.

codex decodes every image, and a file of 28 bytes may say that it has hundreds of millions of pixels. So what is read
here is never less than what its decoders make room for, and None where they would find nothing either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from app.errors import InvalidRequest
from app.images.media_types import media_type_of

MOST_PIXELS = 1 << 26
"""Of one image, such as 8192 x 8192. codex takes a second and 400 MB to make it smaller than three million."""

MOST_PIXELS_TOGETHER = 1 << 29
"""Of all images of one request: 258 pictures of a screen of 1920 x 1080."""

HEAD_BYTES = 48 * 1024
"""How much of an image that is no JPEG is looked at, at most."""

JPEG = "image/jpeg"


def pixels_of(image: bytes | bytearray) -> int | None:
    """Return how many pixels an image has, None where that cannot be read.

    `image` is all of it, or at least `HEAD_BYTES` where it is no JPEG. Linear: about 1 ms a megabyte,
    30 at worst.
    """
    read = _READERS.get(media_type_of(image) or "")
    try:
        return (read(image) or None) if read else None
    except IndexError:  # it ends too early
        return None


def check_together(pixels: int, where: str) -> None:
    """Raise `InvalidRequest` if the images of one request have more pixels together than are let through."""
    if pixels > MOST_PIXELS_TOGETHER:
        raise InvalidRequest(
            f"The images in '{where}' have too many pixels: {pixels} together, and at most {MOST_PIXELS_TOGETHER} are "
            "accepted in one request. Send fewer of them, or smaller ones.",
            param=where,
            code="image_too_large",
        )


def _png(image: bytes | bytearray) -> int:
    return _number(image, 16, 4, "big") * _number(image, 20, 4, "big")


_FRAME = re.compile(
    rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]\0"
    rb"(?:\x0b.(....)\x01|\x0e.(....)\x02|\x11.(....)\x03|\x14.(....)\x04)",
    re.DOTALL,
)
"""A frame's header, wherever it stands: decoders pass over what they do not know, each in its own way."""

_FRAME_BYTES = 10
_MOST_FRAMES = 64
_PIECE = 1 << 17  # for one call of C, which lets no other thread run


def _jpeg(image: bytes | bytearray) -> int:
    """Return the largest frame: beside the image there may be small ones, made to be shown in lists."""
    most = count = 0
    for start in range(0, len(image), _PIECE):
        for found in _FRAME.finditer(image, start, start + _PIECE + _FRAME_BYTES):
            count += 1
            if count > _MOST_FRAMES:
                return 0
            height, width = divmod(int.from_bytes(found[found.lastindex or 0]), 1 << 16)
            most = max(most, width * height)
    return most


_EXTENSION, _GIF_FRAME = b"!,"


def _gif(image: bytes | bytearray) -> int:
    """Return the size of the screen or of the first frame, which is decoded however small the screen is."""
    image = image[:HEAD_BYTES]  # each piece below is a step
    screen = _number(image, 6) * _number(image, 8)
    place = 13
    if image[10] & 0x80:
        place += 3 << (image[10] & 7) + 1
    while image[place] == _EXTENSION:  # its label, and pieces up to an empty one
        place += 2
        while image[place]:
            place += 1 + image[place]
        place += 1
    if image[place] != _GIF_FRAME:
        return 0
    return max(screen, _number(image, place + 5) * _number(image, place + 7))


_FOURTEEN_BITS = (1 << 14) - 1


def _webp(image: bytes | bytearray) -> int:
    """Return the size that the first chunk says: decoders refuse what does not agree with it later."""
    match bytes(image[12:16]):
        case b"VP8X":
            return (_number(image, 24, 3) + 1) * (_number(image, 27, 3) + 1)
        case b"VP8L":
            packed = _number(image, 21, 4)
            return ((packed & _FOURTEEN_BITS) + 1) * ((packed >> 14 & _FOURTEEN_BITS) + 1)
        case b"VP8 ":
            return (_number(image, 26) & _FOURTEEN_BITS) * (_number(image, 28) & _FOURTEEN_BITS)
    return 0


def _number(
    image: bytes | bytearray, place: int, size: int = 2, order: Literal["little", "big"] = "little"
) -> int:
    if place + size > len(image):
        raise IndexError(place)
    return int.from_bytes(image[place : place + size], order)


_READERS: Mapping[str, Callable[[bytes | bytearray], int]] = MappingProxyType(
    {"image/png": _png, JPEG: _jpeg, "image/gif": _gif, "image/webp": _webp}
)
