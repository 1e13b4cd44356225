"""Texts that a regular expression matches: the simplest one, for the keyword `pattern` of JSON schemas. Pure.

The expression is read, and never run: one that a stranger wrote might take for ever.
"""

import re
import string
from collections.abc import Callable

# How the standard library reads an expression; since Python 3.11 these modules have no public names.
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

_MOST_CHARACTERS = 4096
_MOST_REPEATS = 64
_LONGEST_PATTERN = 1000
_LETTERS = string.ascii_lowercase + string.digits + string.ascii_uppercase
_CANDIDATES = f"{_LETTERS}{string.punctuation} "
_CLASSES = {
    _constants.CATEGORY_DIGIT: (string.digits, True),
    _constants.CATEGORY_NOT_DIGIT: (string.digits, False),
    _constants.CATEGORY_SPACE: (" ", True),
    _constants.CATEGORY_NOT_SPACE: (" ", False),
    _constants.CATEGORY_WORD: (f"{_LETTERS}_", True),
    _constants.CATEGORY_NOT_WORD: (f"{_LETTERS}_", False),
}
"""Characters of a class among the candidates, and whether they are in it or all the others are."""
_SETS: dict[Any, Callable[[Any], list[Any]]] = {
    _constants.LITERAL: lambda code: [(_constants.LITERAL, code)],
    _constants.NOT_LITERAL: lambda code: [(_constants.NEGATE, None), (_constants.LITERAL, code)],
    _constants.IN: list,
    _constants.ANY: lambda _: [(_constants.NEGATE, None)],
}


class _UnknownError(Exception):
    """The expression has something that is not made here (a look ahead, a reference to a group), or is too long."""


def matching_text(pattern: str, least: int, most: int) -> str | None:
    """Return a text of `least` to `most` characters that the expression matches, or None where none is known."""
    if len(pattern) > _LONGEST_PATTERN:
        return None
    try:
        parsed = _parser.parse(pattern)
        # What may be repeated is repeated more and more often, until the text is long enough.
        texts = (
            _sequence(parsed, more) for more in (*range(_MOST_REPEATS), max(least - 1, 0), least)
        )
        text = next((text for text in texts if least <= len(text) <= most), "\ud800")
        text.encode()  # half of a surrogate pair is no text
    except (_UnknownError, re.error, OverflowError, RecursionError, UnicodeEncodeError):
        return None
    return text


def _sequence(parsed: Any, more: int) -> str:
    text = ""
    for what, value in parsed:
        text += _part(what, value, more)
        if len(text) > _MOST_CHARACTERS:
            raise _UnknownError
    return text


def _part(what: Any, value: Any, more: int) -> str:
    if what in _SETS:
        return _one_of(_SETS[what](value))
    match what:
        case _constants.AT:
            return ""
        case _constants.SUBPATTERN:
            return _sequence(value[-1], more)
        case _constants.BRANCH:
            return _sequence(value[1][0], more)
        case _constants.MAX_REPEAT | _constants.MIN_REPEAT:
            least, most, repeated = value
            text, count = _sequence(repeated, more), min(least + more, int(most))
            if len(text) * count <= _MOST_CHARACTERS:
                return text * int(count)
    raise _UnknownError


def _one_of(members: list[Any]) -> str:
    """Return a character of the set, one that is easy to read where there is a choice."""
    named = (chr(value) for what, value in members if what is _constants.LITERAL)
    first = (chr(value[0]) for what, value in members if what is _constants.RANGE)
    is_excluding = members[0][0] is _constants.NEGATE
    letters: tuple[str, ...] = (*_CANDIDATES, *named, *first)
    for letter in letters:
        if any(_has(member, letter) for member in members) is not is_excluding:
            return letter
    raise _UnknownError


def _has(member: Any, letter: str) -> bool:
    what, value = member
    match what:
        case _constants.LITERAL:
            return ord(letter) == int(value)
        case _constants.RANGE:
            return int(value[0]) <= ord(letter) <= int(value[1])
        case _constants.CATEGORY:
            characters, are_in = _CLASSES[value]
            return (letter in characters) is are_in
    return False
