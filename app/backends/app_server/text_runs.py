"""Runs of pieces of text: what one read from the child brings of a message, given to its turn at once. Pure.

Nearly every line of the child brings one more piece of a message, and lines of one message differ in nothing else. How
they begin is learned from the first, which is parsed like any other line; of the next ones only the piece is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from app.backend.events import TextDelta, TextRun
from app.backends.app_server.parse_events import Addressed, ThreadId, TurnId, is_echo

_PIECE = b',"delta":'
_STAMP, _END = b'},"emittedAtMs":', b"}"
"""What stands before a piece, and after it: the time, which older versions leave out. Quotation marks inside of a text
are escaped, so that none can be taken for these."""

_MOST_HEAD_BYTES = 512
_SPARE_HEADS = 64
"""Known heads beyond two for each turn that was open the last time that those of ended turns were forgotten."""


@dataclass(slots=True)
class _Message:
    """A message that is known, and what waits of it; `size` is that of the lines, in bytes."""

    thread_id: ThreadId
    turn_id: TurnId
    item_id: str
    texts: list[str] = field(default_factory=list)
    size: int = 0


class TextRuns:
    """Runs of all turns of a child. `deliver` is given each, and the size of its lines in bytes; it must not block.

    Whoever delivers anything else of a turn calls `flush_one` before, or `flush`: nothing may overtake a piece.
    """

    def __init__(
        self,
        deliver: Callable[[ThreadId, TurnId, TextRun, int], None],
        is_open: Callable[[ThreadId], bool],
    ) -> None:
        self._deliver = deliver
        self._is_open = is_open
        self._known: dict[bytes, _Message] = {}
        # Of each thread the latest: its messages come one after another.
        self._heads: dict[ThreadId, bytes] = {}
        self._waiting: dict[ThreadId, _Message] = {}
        self._open_count = 0
        self._head = self._rest = b""  # of the line that was looked at last, if it is not known

    def __len__(self) -> int:
        """Return how many messages are known by their heads."""
        return len(self._known)

    def takes(self, line: bytes) -> bool:
        """Take a line that brings a piece of a known message, or an echo, which says nothing; False for every other.

        Such a line is to be parsed.
        """
        at = line.find(_PIECE, 0, _MOST_HEAD_BYTES)
        self._head = head = line[:at] if at > 0 else b""
        message = self._known.get(head)
        if message is None:
            self._rest = line[at + len(_PIECE) :] if head else b""
            return is_echo(line)
        self._head = self._rest = b""
        text = _text(line[at + len(_PIECE) :])
        if text is None:
            return False
        if not message.texts:
            self.flush_one(message.thread_id)  # what waits is of the message before it
            self._waiting[message.thread_id] = message
        message.texts.append(text)
        message.size += len(line)
        return True

    def learn(self, addressed: Addressed, piece: TextDelta) -> None:
        """Learn how the line begins that was looked at last, and brought this piece of this turn."""
        head, rest = self._head, self._rest
        self._head = self._rest = b""
        if not head or _text(rest) != piece.text:
            return
        if len(self._known) > _SPARE_HEADS + 2 * self._open_count:
            self._forget_ended()
        thread_id = addressed.thread_id
        self._known.pop(self._heads.get(thread_id, b""), None)
        self._heads[thread_id] = head
        self._known[head] = _Message(thread_id, addressed.turn_id, piece.item_id)

    def _forget_ended(self) -> None:
        self._heads = {it: head for it, head in self._heads.items() if self._is_open(it)}
        self._known = {head: self._known[head] for head in self._heads.values()}
        self._open_count = len(self._known)

    def flush_one(self, thread_id: ThreadId) -> None:
        """Deliver what waits of one thread."""
        message = self._waiting.pop(thread_id, None)
        if message is not None:
            self._hand_over(message)

    def flush(self) -> None:
        """Deliver everything that waits."""
        while self._waiting:
            self._hand_over(self._waiting.popitem()[1])

    def _hand_over(self, message: _Message) -> None:
        run, size = TextRun(message.item_id, message.texts), message.size
        message.texts, message.size = [], 0
        self._deliver(message.thread_id, message.turn_id, run, size)


def _text(rest: bytes) -> str | None:
    """Return the piece of a line, given what follows its name; None where that is not a string and the line's end."""
    end = rest.rfind(_STAMP)
    if end < 0:
        end = len(rest) - 2 * len(_END)
        is_end = rest.endswith(2 * _END)
    else:
        is_end = rest.endswith(_END) and rest[end + len(_STAMP) : -len(_END)].isdigit()
    if not is_end:
        return None
    try:
        piece = orjson.loads(rest[:end])
    except orjson.JSONDecodeError:
        return None
    return piece if isinstance(piece, str) else None
