"""Frames of server-sent events: a message as the bytes that go out. Pure."""

from __future__ import annotations

from app.http.wire import Payload

_LINE_ENDS = tuple((end.encode(), b"\\u%04x" % ord(end)) for end in "\x85\u2028\u2029")
"""Characters that end a line for many readers and that JSON leaves as they are: their bytes, and their escapes."""

_NEL, _SEPARATOR = 0xC2, 0xE2
"""Their first bytes: a single one is found ten times as fast as all of them."""


def frame(payload: Payload) -> bytes:
    """Return one server-sent event (WHATWG HTML, section 9.2)."""
    event, data = payload
    if _SEPARATOR in data or _NEL in data:
        data = in_one_line(data)
    if event is None:
        return b"data: " + data + b"\n\n"
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)


def in_one_line(data: bytes) -> bytes:
    """Escape what is no line end in JSON but for many readers, Python's `str.splitlines` among them."""
    # Outside of its strings JSON is ASCII, and no other character of UTF-8 has these bytes in it: what is replaced is
    # always a character of a string, where an escape is the same character.
    for end, escape in _LINE_ENDS:
        if end[-1] in data:  # dashes and typographic quotes share only the other bytes
            data = data.replace(end, escape)
    return data
