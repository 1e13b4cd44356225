"""Frames and the handshake of WebSockets; the figures are RFC 6455's own examples where it has some."""

from __future__ import annotations

import pytest

from scripted_upstream.websocket import accept_key, encode_frame


def test_the_handshake_is_answered_as_in_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_says_its_size(size: int, head: bytes) -> None:
    assert encode_frame(1, b"x" * size) == head + b"x" * size
