"""Stop sequences, exact also across deltas. Pure.

What might be the beginning of a stop sequence is held back until the next delta decides; everything else goes on at
once. Nothing of the stop sequence, and nothing after it, is ever let out.
"""

from __future__ import annotations


class StopFilter:
    """Feed it deltas; it returns the text that may go out. `hit` is True once a stop sequence was complete."""

    __slots__ = ("_held", "_sequences", "hit")

    def __init__(self, sequences: tuple[str, ...]) -> None:
        self._sequences = sequences
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Return what of the text held back so far and of `text` may go out now."""
        if not self._sequences:
            return text
        if self.hit:
            return ""
        text = self._held + text
        # The one that is complete first, as if the text had come letter by letter.
        found = [(at + len(s), at) for s in self._sequences if (at := text.find(s)) >= 0]
        if found:
            self.hit, self._held = True, ""
            return text[: min(found)[1]]
        keep = max(map(len, (self._beginning(text, sequence) for sequence in self._sequences)))
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    @property
    def is_holding(self) -> bool:
        """True while text is held back that the next delta decides about."""
        return bool(self._held)

    def flush(self) -> str:
        """Return what is still held back: the answer has ended, so it was no stop sequence."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _beginning(text: str, sequence: str) -> str:
        """Return the longest end of `text` that is a beginning of `sequence`, but not all of it."""
        for size in range(min(len(sequence) - 1, len(text)), 0, -1):
            if text.endswith(sequence[:size]):
                return sequence[:size]
        return ""
