"""Extraction of the one JSON value in a text that should have held nothing else: out of a code fence, or prose. Pure.

A model that was asked for JSON in words may put a fence or a sentence around it. What is taken out is the value's own
text, character by character. Where there could be two answers, there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any

import orjson

from app.json_cost import has_too_many_values

ANY_KIND = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
"""Names of all types that JSON Schema knows."""

_MAX_CHARACTERS = 1 << 20
"""Beyond it a text must be JSON as a whole."""

_BOM = "\ufeff"
_OPENING = re.compile(r'\{[ \t\r\n]*+"|\[[ \t\r\n]*+(?:[\[{"\-0-9]|true|false|null)')
"""How an object or array with something in it begins: `{name}` and `f() {}` in a sentence are none."""

_INSIDE = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]"]', re.DOTALL)
"""A whole string, a bracket, or the quote of a string that never ends."""

_FENCE = "```"
_LANGUAGE = re.compile(r"\A[A-Za-z0-9_+-]*[ \t\r]*\n")


@dataclass(frozen=True, slots=True)
class Extracted:
    """A JSON value, and its text as the model wrote it."""

    text: str
    value: Any


def only_value(text: str, kinds: frozenset[str] = ANY_KIND) -> Extracted | None:
    """Return the text as a whole if it is JSON, else the one value in it that is of these `kinds`.

    None if there is none, or more than one, or if one breaks off. Objects and arrays are found anywhere; a value that
    is empty, or neither, only where a fence holds nothing else. Linear.
    """
    text = text.removeprefix(_BOM)
    whole = _parse(text)
    if whole is not None or len(text) > _MAX_CHARACTERS:
        return whole
    found: list[Extracted] = []
    for held in chain(_containers(text), [_fenced(text)]):
        if held is None:
            return None
        value = _parse(held)
        if value is not None and not kinds.isdisjoint(_kinds_of(value.value)):
            found.append(value)
        if len(found) > 1:
            return None
    return found[0] if found else None


def _parse(text: str) -> Extracted | None:
    if len(text) > _MAX_CHARACTERS // 8 and has_too_many_values(text.encode("utf-8", "replace")):
        return None
    try:
        return Extracted(text, orjson.loads(text))
    except orjson.JSONDecodeError:
        return None


def _containers(text: str) -> Iterator[str | None]:
    """Yield what may be an object or array with something in it; None for one that breaks off.

    What is whole inside one that breaks off is only a part of the answer.
    """
    position = 0
    while opening := _OPENING.search(text, position):
        end = _end(text, opening.start())
        yield None if end is None else text[opening.start() : end]
        position = end or len(text)


def _end(text: str, start: int) -> int | None:
    depth = 0
    for token in _INSIDE.finditer(text, start):
        match token[0]:
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
                if depth == 0:
                    return token.end()
            case '"':
                return None
    return None


def _fenced(text: str) -> str:
    """Return what the only fence holds, if `_containers` does not see it; else nothing."""
    parts = text.split(_FENCE, _PARTS_WITH_ONE_FENCE)
    held = _LANGUAGE.sub("", parts[1]).strip() if len(parts) == _PARTS_WITH_ONE_FENCE else ""
    return "" if _OPENING.match(held) else held


def _kinds_of(value: Any) -> frozenset[str]:
    if isinstance(value, float):
        return frozenset({"number", "integer"} if value.is_integer() else {"number"})
    return _KINDS[type(value)]


_PARTS_WITH_ONE_FENCE = 3  # before, inside, behind
_KINDS: Mapping[type, frozenset[str]] = MappingProxyType(
    {
        dict: frozenset({"object"}),
        list: frozenset({"array"}),
        str: frozenset({"string"}),
        bool: frozenset({"boolean"}),
        int: frozenset({"integer", "number"}),
        type(None): frozenset({"null"}),
    }
)
