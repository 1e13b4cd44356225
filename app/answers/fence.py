"""Code fence around a structured answer, taken off while the answer streams. Pure.

Models put JSON into a fence although they were told not to. JSON holds no line break inside a string, so backticks at
the beginning of a line are the fence's end, and what follows them is no part of the value.
"""

from __future__ import annotations

import re

_FENCE = "```"
_OPENING = re.compile(r"\s{0,80}```[\w+-]{0,20}[ \t]{0,20}\r?\n")
_MAYBE_OPENING = re.compile(r"\s{0,80}(`{0,2}|```[\w+-]{0,20}[ \t]{0,20}\r?)")
_MOST_HELD = 4096


class FenceFilter:
    """Feed it deltas; it returns the text that may go out, without a fence around it."""

    __slots__ = ("_held", "_is_inside", "_is_over", "_is_undecided")

    def __init__(self) -> None:
        self._held = ""
        self._is_undecided = True
        self._is_inside = False
        self._is_over = False

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
        at = text.find(_FENCE)
        while at >= 0:
            line = text[:at].rstrip(" \t")
            if line.endswith("\n"):
                self._is_over = True
                return line.rstrip()
            at = text.find(_FENCE, at + 1)
        body = text.rstrip("`")
        before = body.rstrip()
        # What might be the beginning of the end: white space, and a backtick or two after it.
        if len(before) < len(body) and len(text) - len(before) <= _MOST_HELD:
            self._held = text[len(before) :]
            return before
        return text

    def flush(self) -> str:
        """Return what is still held back: the answer has ended, so it was no fence."""
        held, self._held = self._held, ""
        self._is_undecided = False
        return held
