"""Frames of a WebSocket: an event as the bytes that go out, and an error as an event. Pure.

Texts are framed here and not by wsproto, which would have each of them decoded first: there is one for each piece of an
answer, and what a server sends is a head of two to ten bytes before it (RFC 6455, section 5.2).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import orjson

_FINAL_TEXT = 0x81
_SHORT, _MEDIUM = 125, 1 << 16


def text_frame(data: bytes) -> bytes:
    """Return one message of UTF-8 text."""
    size = len(data)
    if size <= _SHORT:
        return bytes((_FINAL_TEXT, size)) + data
    if size < _MEDIUM:
        return struct.pack("!BBH", _FINAL_TEXT, 126, size) + data
    return struct.pack("!BBQ", _FINAL_TEXT, 127, size) + data


def in_stream(data: bytes, stream_id: str | None) -> bytes:
    """Return an event, a JSON object, that says which stream of its connection it belongs to."""
    if stream_id is None:
        return data
    return b'%b,"stream_id":%b}' % (data.removesuffix(b"}"), orjson.dumps(stream_id))


def error_event(status: int, error: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    """Return the event for what would be an HTTP error elsewhere.

    OpenAI's SDKs look for the headers in the error, codex beside it.
    """
    event = {"type": "error", "status": status, "error": {**error, "headers": headers}}
    return orjson.dumps({**event, "headers": headers})
