"""JSON text of a long value, written in pieces, so that others can go on between two of them. Pure.

One call of `orjson` writes 30 MB in up to 200 ms, and keeps the interpreter to itself meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

MOST_CHARACTERS = 128 * 1024
"""Of what is written at once; about half a millisecond."""

_MOST_VALUES = 1_000
_MOST_PARTS = 256


def is_long(value: Any) -> bool:
    """True for a JSON value with more than 128 Ki characters in its texts, or a thousand values. Bounded itself."""
    characters = values = 0
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str):
            characters += len(entry)
        elif isinstance(entry, dict):
            values += len(entry)
            characters += sum(map(len, entry)) if values <= _MOST_VALUES else 0
            waiting += entry.values() if values <= _MOST_VALUES else ()
        elif isinstance(entry, list | tuple):
            values += len(entry)
            waiting += entry if values <= _MOST_VALUES else ()
        if characters > MOST_CHARACTERS or values > _MOST_VALUES:
            return True
    return False


def pieces(value: Any) -> Iterator[bytes]:
    """Yield the JSON text of a value as `orjson` writes it: one piece of a short one, several of a long one.

    Raises `orjson.JSONEncodeError` for what cannot be JSON.
    """
    parts: list[bytes] = []
    size = 0
    for part in _parts(value):
        parts.append(part)
        size += len(part)
        if size > MOST_CHARACTERS or len(parts) > _MOST_PARTS:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def _parts(value: Any) -> Iterator[bytes]:
    if not is_long(value):
        yield orjson.dumps(value)
    elif isinstance(value, str):
        yield b'"'
        for start in range(0, len(value), MOST_CHARACTERS):
            yield orjson.dumps(value[start : start + MOST_CHARACTERS])[1:-1]
        yield b'"'
    elif isinstance(value, dict):
        before = b"{"
        for name, member in value.items():
            yield before + orjson.dumps(name) + b":"
            yield from _parts(member)
            before = b","
        yield b"}"
    else:
        before = b"["
        for entry in value:
            yield before
            yield from _parts(entry)
            before = b","
        yield b"]"
