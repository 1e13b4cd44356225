"""Cost of a JSON text before it is parsed: how many values it has, counted block by block. Pure.

A long text is cheap to parse and small in memory; a million values take a second and 100 bytes each, whatever they
say. Only a parser knows them exactly, so this is a bound that no text exceeds.
"""

from __future__ import annotations

MOST_VALUES = 100_000
"""Values of one text: numbers, strings, objects, arrays. An agent's conversation of 5,000 messages in parts has
30,000, and its 128 tools of 300 KB have 20,000. As many lists are parsed in 30 ms."""

_BLOCK = 64 * 1024
_QUOTE = b'"'
_BEFORE_A_VALUE = b",[{"
"""What stands before every value but the first and those of an object, whose members are counted: outside of strings,
each begins one of the others, or an array or object that may be empty."""

_OTHERS = bytes(set(range(256)) - set(_QUOTE + _BEFORE_A_VALUE))
_QUOTES_OF_A_MEMBER = 4


class ValueCount:
    """Feed it the blocks of a text, cut anywhere; `values` is never less than the values that a parser would make.

    Names of members are not counted; there is one value for each. At the speed of C, a millisecond a megabyte; the
    text that strings hold is not counted, whatever it looks like.
    """

    __slots__ = ("_has_backslash", "_is_in_string", "values")

    def __init__(self) -> None:
        self.values = 1
        self._is_in_string = False
        self._has_backslash = False  # at its end: what it escapes comes next

    def feed(self, block: bytes) -> int:
        """Return the values so far."""
        if self._has_backslash:
            block, self._has_backslash = b"\\" + block, False
        if b"\\" in block:
            block = block.replace(rb"\\", b"")
            if block.endswith(b"\\"):
                block, self._has_backslash = block[:-1], True
            block = block.replace(rb"\"", b"")
        pieces = block.translate(None, _OTHERS).split(_QUOTE)
        quotes = len(pieces) - 1
        outside = sum(map(len, pieces[self._is_in_string :: 2]))
        # The second is for what is no JSON, and would be split into ever more pieces.
        self.values += max(outside, quotes // _QUOTES_OF_A_MEMBER)
        self._is_in_string ^= bool(quotes & 1)
        return self.values


def has_too_many_values(*texts: bytes) -> bool:
    """Return True if JSON texts have more than `MOST_VALUES` values together; the last one may be cut off."""
    count = ValueCount()
    blocks = (text[at : at + _BLOCK] for text in texts for at in range(0, len(text), _BLOCK))
    return any(count.feed(block) > MOST_VALUES for block in blocks)
