"""Message of an answer while its text comes: where the text goes, and what of it only the whole item has. Pure."""

from __future__ import annotations

from enum import Enum
from zlib import crc32

from app.backend.request import Item


class Route(Enum):
    """Where a message's text goes."""

    CONTENT = "content"
    REASONING = "reasoning"
    HELD = "held"
    """Not known yet: whatever comes next decides."""


class Delivered:
    """Text that was delivered piece by piece, known by its length and checksum: the text itself is not held."""

    __slots__ = ("_checksum", "_size")

    def __init__(self) -> None:
        self._size = self._checksum = 0

    def __bool__(self) -> bool:
        return self._size > 0

    def add(self, text: str) -> None:
        """Note the next piece."""
        data = text.encode("utf-8", "surrogatepass")
        self._size += len(data)
        self._checksum = crc32(data, self._checksum)

    def rest(self, whole: str) -> str:
        """Return what of the whole is still to be delivered; nothing if it does not begin with what was."""
        if not self._size:
            return whole
        data = whole.encode("utf-8", "surrogatepass")
        if len(data) <= self._size or crc32(data[: self._size]) != self._checksum:
            return ""
        return data[self._size :].decode("utf-8", "surrogatepass")


_BEGINNINGS = frozenset('{["`-0123456789')
"""First characters of JSON, or of a fence around it. Words begin otherwise, but for `true`, `false` and `null`."""


class Message:
    """One message: its text as far as it is not decided where it goes (`held`), and what was delivered of it."""

    __slots__ = ("delivered", "has_content", "held", "is_json", "item_id", "phase", "raw", "route")

    def __init__(self, item_id: str, phase: str | None, route: Route) -> None:
        self.item_id = item_id
        self.phase = phase
        self.route = route
        self.delivered = Delivered()
        self.has_content = False
        self.held: list[str] = []
        self.raw: Item | None = None
        """The whole item, once it has come."""
        self.is_json: bool | None = None if phase is None else False  # else it is not the last one
        """Whether it begins like JSON, and not like a word about it; None while nobody knows."""

    @property
    def is_broken_off(self) -> bool:
        """True if another message can only mean that this one begins anew: it has text, and no end."""
        return bool(self.delivered) and self.raw is None

    def hold(self, text: str) -> bool:
        """Hold text back; True once it is plain that the message is JSON and not a word about it."""
        self.held.append(text)
        if self.is_json is None and (begun := text.lstrip()):
            self.is_json = begun[0] in _BEGINNINGS
        return bool(self.is_json)

    def let_go(self) -> list[str]:
        """Return the pieces that were held back, which are then held no more."""
        held, self.held = self.held, []
        return held
