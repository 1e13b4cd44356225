"""Media types of the images that the models take, told by their first bytes. Pure."""

from __future__ import annotations

UNDECLARED = frozenset({"", "application/octet-stream", "binary/octet-stream"})
"""What a server or a client declares that does not know the type."""


def media_type_of(head: bytes | bytearray) -> str | None:
    """Return the media type that the first twelve bytes prove, None for any other; what was declared is not asked."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None
