"""Sizes of images, as their heads say them, and of heads that would deceive."""

from __future__ import annotations

import pytest

from app.errors import InvalidRequest
from app.images.dimensions import HEAD_BYTES, MOST_PIXELS_TOGETHER, check_together, pixels_of
from tests.fakes import pictures

SIZES = [(1, 1), (3, 5), (640, 480), (8191, 8193), (16_383, 16_383)]
COMMENT = b"!\xfe\x03abc\x02,,\0"
ANIMATION = b"!\xf9\x04\0\0\0\0\0"


@pytest.mark.parametrize(
    "picture",
    [
        pictures.png,
        pictures.jpeg,
        pictures.gif,
        pictures.webp_lossy,
        pictures.webp_lossless,
        pictures.webp_extended,
    ],
)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_size_is_read(picture: object, width: int, height: int) -> None:
    assert callable(picture)
    image = picture(width, height)
    assert pixels_of(image) == pixels_of(bytearray(image)) == width * height
    assert pixels_of(image[:HEAD_BYTES]) == width * height


SMALL = pictures.jpeg_frame(2, 2)


@pytest.mark.parametrize(
    ("image", "pixels"),
    [
        pytest.param(pictures.gif_screen(2, 2) + pictures.gif_frame(9, 9), 81, id="frame"),
        pytest.param(pictures.gif_screen(9, 9) + pictures.gif_frame(2, 2), 81, id="screen"),
        pytest.param(
            pictures.gif_screen(2, 2, colours=256) + COMMENT + ANIMATION + pictures.gif_frame(9, 9),
            81,
            id="behind extensions",
        ),
        pytest.param(
            pictures.gif_screen(2, 2, colours=0) + pictures.gif_frame(9, 9), 81, id="no colours"
        ),
        pytest.param(
            pictures.jpeg(9, 9, pictures.jpeg_segment(0xE1, SMALL)), 81, id="behind a small one"
        ),
        pytest.param(
            pictures.jpeg(2, 2, pictures.jpeg_segment(0xE1, pictures.jpeg_frame(9, 9))),
            81,
            id="before a small one",
        ),
        pytest.param(pictures.jpeg(9, 9, b"\xff" * 5 + b"junk\xff"), 81, id="behind junk"),
        pytest.param(pictures.jpeg(9, 9, b"\xff" + bytes(1 << 20)), 81, id="far behind"),
        *(
            pytest.param(
                pictures.jpeg(9, 9, b"\xff" + bytes(size)), 81, id="on the edge of a piece"
            )
            for size in range((1 << 17) - 16, 1 << 17)
        ),
        *(
            pytest.param(b"\xff\xd8\xff" + pictures.jpeg_frame(9, 9, count, marker), 81)
            for count, marker in ((1, 0xC0), (2, 0xC1), (3, 0xC2), (4, 0xCF))
        ),
    ],
)
def test_the_largest_counts_and_not_the_first(image: bytes, pixels: int) -> None:
    assert pixels_of(image) == pixels


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"BM" + bytes(60),
        pictures.png(0, 9),
        pictures.png(9, 9)[:20],
        pictures.jpeg(9, 0),
        pictures.jpeg(9, 9)[:9],
        pictures.jpeg(9, 9).replace(b"\xff\xc0", b"\xff\xc4"),
        b"\xff\xd8\xff" + SMALL * 65,
        pictures.gif_screen(9, 9),
        pictures.gif_screen(9, 9) + b"\x55" + pictures.gif_frame(9, 9),
        pictures.gif_screen(9, 9) + COMMENT * 10_000 + pictures.gif_frame(9, 9),
        pictures.webp_lossless(9, 9)[:22],
        pictures.webp_lossless(9, 9).replace(b"VP8L", b"EXIF"),
    ],
)
def test_a_size_that_cannot_be_read_is_none(image: bytes) -> None:
    assert pixels_of(image) is None


def test_what_a_request_may_have_together() -> None:
    check_together(MOST_PIXELS_TOGETHER, "messages")
    with pytest.raises(InvalidRequest) as refused:
        check_together(MOST_PIXELS_TOGETHER + 1, "messages")
    assert (refused.value.code, refused.value.param) == ("image_too_large", "messages")
