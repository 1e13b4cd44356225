"""Code fence around a structured answer, taken off while the answer streams. Pure.

Models put JSON into a fence although they were told not to. JSON has backticks inside its strings alone, and no line
break there, so backticks anywhere else are the fence's end, and what follows them is no part of the value.
"""

from __future__ import annotations

import re

_OPENING = re.compile(r"\s{0,80}`{3,9}[\w+-]{0,20}[ \t]{0,20}(?:\r?\n|(?=[{\[]))")
_MAYBE_OPENING = re.compile(r"\s{0,80}(`{0,2}|`{3,9}[\w+-]{0,20}[ \t]{0,20}\r?)")
_BETWEEN_STRINGS = re.compile(r'"|```')
_IN_STRING = re.compile(r'\\(?:.|\Z)|["\n]', re.DOTALL)
"""An escape, or the end of the string. A line break ends it, too: it is none of JSON's."""

_MOST_HELD = 4096


class FenceFilter:
    """Feed it deltas; it returns the text that may go out, without a fence around it."""

    __slots__ = ("_held", "_is_escaped", "_is_in_string", "_is_inside", "_is_over", "_is_undecided")

    def __init__(self) -> None:
        self._held = ""
        self._is_undecided = True
        self._is_inside = False
        self._is_over = False
        self._is_in_string = False
        self._is_escaped = False  # the last character was a backslash, and the next one is no end

    def feed(self, text: str) -> str:
        """Return what of the text held back so far and of `text` may go out now."""
        if self._is_undecided:
            return self._begin(self._held + text)
        return self._go_on(self._held + text) if self._is_inside else text

    def _begin(self, text: str) -> str:
        self._held = ""
        if opening := _OPENING.match(text):
            self._is_undecided, self._is_inside = False, True
            return self._go_on(text[opening.end() :])
        if _MAYBE_OPENING.fullmatch(text):
            self._held = text
            return ""
        self._is_undecided = False
        return text

    def _go_on(self, text: str) -> str:
        self._held = ""
        if self._is_over:
            return ""
        at = self._find_end(text)
        if at is not None:
            self._is_over = True
            return text[:at].rstrip()
        before = text if self._is_in_string else text.rstrip("`").rstrip()
        # What might be the beginning of the end: white space, a backtick or two.
        if len(text) - len(before) <= _MOST_HELD:
            self._held = text[len(before) :]
            return before
        return text

    def _find_end(self, text: str) -> int | None:
        """Return where the fence ends, and note whether the text ends inside a string."""
        place = int(self._is_escaped and text != "")
        self._is_escaped = self._is_escaped and text == ""
        while True:
            expected = _IN_STRING if self._is_in_string else _BETWEEN_STRINGS
            token = expected.search(text, place)
            if token is None:
                return None
            place = token.end()
            if token[0] == "```":
                return token.start()
            if token[0].startswith("\\"):
                self._is_escaped = token[0] == "\\"
            else:
                self._is_in_string = not self._is_in_string

    def flush(self) -> str:
        """Return what is still held back: the answer has ended, so it was no fence."""
        held, self._held = self._held, ""
        self._is_undecided = False
        return held
