"""Text of a choice: what the model says and thinks, as chunks. Pure.

An answer may hold several messages. They are parted where a client has one text for them, and of a structured answer
only the last one counts. Text that came only with the whole item is added to the pieces that came before it. A piece
goes out exactly as it came: never merged with another, never compared with one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.answers.chunks import (
    Chunk,
    ItemBegan,
    ItemEnded,
    ItemKind,
    ReasoningText,
    Refusal,
    Text,
    TextPieces,
    Working,
    in_pieces,
)
from app.answers.constraints import AnswerConstraints
from app.answers.fence import FenceFilter
from app.answers.message import Delivered, Message, Route
from app.answers.stop_sequences import StopFilter
from app.backend.events import COMMENTARY, FINAL_ANSWER, ReasoningDelta
from app.backend.request import Item
from app.errors import UpstreamBrokeOff

_NO_STOP = StopFilter(())
"""For every answer without stop sequences: it holds nothing."""


class ChoiceText:
    """Text of one turn. Once `is_stopped`, a stop sequence was complete and nothing more goes out.

    `pieces` counts what came, `refused` is True once there was a refusal. `is_plain`: pieces go out as they come.
    """

    # There is one for every open stream.
    __slots__ = (
        "_constraints",
        "_fence",
        "_has_content",
        "_held",
        "_holds",
        "_index",
        "_message",
        "_open",
        "_stop",
        "_thought",
        "_thought_part",
        "_working",
        "is_plain",
        "pieces",
        "refused",
    )

    def __init__(self, index: int, constraints: AnswerConstraints) -> None:
        self.pieces = 0
        self.refused = False
        self._index, self._constraints = index, constraints
        self._working = Working(index)  # one for all: there may be very many
        self._stop = StopFilter(constraints.stops) if constraints.stops else _NO_STOP
        is_fenced = constraints.output.is_checked and not constraints.checks_output
        self._fence = FenceFilter() if is_fenced else None
        self._holds = constraints.holds_text
        self.is_plain = constraints.passes_text
        self._held: list[Chunk] = []  # while it is not certain that the answer will stand
        self._open: ItemKind | None = None  # at most one item is open at a time
        self._message: Message | None = None  # the latest
        self._has_content = False
        self._thought = Delivered()  # of the reasoning item whose text is coming
        self._thought_part: str | None = None

    @property
    def is_stopped(self) -> bool:
        """True once a stop sequence was complete."""
        return self._stop.hit

    # Messages

    def begin_message(self, item_id: str, phase: str | None) -> list[Chunk]:
        """Begin a message. Raises `UpstreamBrokeOff` where the one before it was never finished."""
        # Where its connection broke, codex may ask the upstream anew by itself: the answer then begins once more, as
        # another message, while the first was never finished.
        before = self._message
        if before is not None and before.is_broken_off:
            raise UpstreamBrokeOff("The upstream broke off its answer.")
        # What is said on the way is no answer, so the one before it is.
        let_go = self._let_go() if before and before.is_json and phase == COMMENTARY else []
        self._message = Message(item_id, phase, self._route(phase))
        if let_go:
            return let_go
        if before is None or not before.held:
            return []
        # It was not the last one, so it is no part of a structured answer.
        return [c for text in before.let_go() for c in self._think_aloud(text, before.item_id)]

    def _route(self, phase: str | None) -> Route:
        if self._constraints.is_structured:
            if self._has_content:
                return Route.REASONING
            return Route.CONTENT if phase == FINAL_ANSWER else Route.HELD
        is_aside = phase == COMMENTARY and self._constraints.commentary_is_reasoning
        return Route.REASONING if is_aside else Route.CONTENT

    def say(self, item_id: str, text: str) -> list[Chunk]:
        """Take a piece of a message. Raises `UpstreamBrokeOff`."""
        message = self._message
        if message is None or message.item_id != item_id:
            return [*self.begin_message(item_id, None), *self.say(item_id, text)]
        self.pieces += 1
        message.delivered.add(text)
        if not message.has_content:
            return self._say(message, text)
        if self.is_plain and text and self._open is ItemKind.MESSAGE:  # as nearly every piece
            return [Text(self._index, text)]
        return self._pass(message, text)

    def say_run(self, item_id: str, texts: Sequence[str]) -> TextPieces | None:
        """Take pieces that only go through; None where that is not certain: each is then to be said by itself."""
        message = self._message
        if message is None or message.item_id != item_id or not message.has_content:
            return None
        if not self.is_plain or self._open is not ItemKind.MESSAGE or "" in texts:
            return None
        self.pieces += len(texts)
        text = "".join(texts)
        message.delivered.add(text)
        return TextPieces(self._index, text, texts)

    def _say(self, message: Message, text: str) -> list[Chunk]:
        if message.has_content:
            return self._pass(message, text)
        if message.route is Route.REASONING:
            return self._think_aloud(text, message.item_id)
        if message.route is Route.HELD:
            # Nobody sees a part of an answer that is checked: the messages after this one can be waited for.
            is_sure = message.hold(text) and not self._constraints.can_check
            return self._let_go() if is_sure else [self._working]
        message.has_content = True
        separator = self._constraints.separator if self._has_content else ""
        self._has_content = True
        parted = self._pass(message, separator) if separator else []
        return [*parted, *self._pass(message, text)]

    def _pass(self, message: Message, text: str) -> list[Chunk]:
        """Let text out as far as no filter holds it back."""
        is_open = self._open is ItemKind.MESSAGE
        began = (
            [] if is_open else self._begin_item(ItemKind.MESSAGE, message.item_id, message.phase)
        )
        if self._fence is not None:
            text = self._fence.feed(text)
        passed = self._stop.feed(text)
        return [*began, *self._emit(Text(self._index, passed))] if passed else began

    def _let_go(self) -> list[Chunk]:
        """Let the latest message out if it was held back until it was known where it goes."""
        message = self._message
        if message is None or not message.held:
            return []
        message.route = Route.CONTENT
        chunks = [chunk for text in message.let_go() for chunk in self._say(message, text)]
        return chunks if message.raw is None else [*chunks, *self._end_item(message.raw)]

    def end_message(self, item: Item) -> list[Chunk]:
        """Take a whole message: what of its text has not come yet, and refusals, for which codex has no pieces."""
        message = self._message
        if message is None or message.raw is not None:  # nothing of it has come before
            phase = item.get("phase")
            began = self.begin_message(str(item.get("id")), phase and str(phase))
            return [*began, *self.end_message(item)]
        chunks: list[Chunk] = []
        rest = message.delivered.rest("".join(texts_of(item.get("content"))))
        for piece in in_pieces(rest) if rest else ():
            self.pieces += 1
            chunks += self._say(message, piece)
        message.raw = item
        if refusals := texts_of(item.get("content"), "refusal"):
            return [*chunks, *self.refuse(*refusals), *self._end_item(item)]
        # A client sees one text: a stop sequence may begin in one message and end in the next.
        is_whole = self._open is ItemKind.MESSAGE and not self._stop.is_holding
        return [*chunks, *(self._end_item(item) if is_whole else [self._working])]

    def refuse(self, *texts: str) -> list[Chunk]:
        """Say the model's own words for not answering."""
        self.refused = True
        chunks = [*self._let_go(), *self._begin_item(ItemKind.MESSAGE), *self._flush()]
        chunks += self._release()  # a refusal is not checked, so that nothing need be held any more
        return [*chunks, *(Refusal(self._index, text) for text in texts)]

    # Reasoning

    def think(self, piece: ReasoningDelta) -> list[Chunk]:
        """Take a piece of reasoning, which is shown at once, also where text is held back."""
        if self._thought and self._thought_part != piece.part:
            self._thought.add(self._constraints.separator)
        self._thought.add(piece.text)
        return self._show(piece)

    def _think_aloud(self, text: str, message_id: str) -> list[Chunk]:
        """Show a text of a message as reasoning, though it is no part of the model's own."""
        return self._show(ReasoningDelta(text, message_id))

    def _show(self, piece: ReasoningDelta) -> list[Chunk]:
        if not self._constraints.shows_reasoning:
            return [self._working]
        chunks: list[Chunk] = []
        if self._open is None:
            self._open = ItemKind.REASONING
            chunks = [ItemBegan(self._index, ItemKind.REASONING, piece.item_id)]
        separator, part = self._constraints.separator, piece.part
        if separator and self._thought_part not in (None, part):
            chunks.append(ReasoningText(self._index, separator, part))
        self._thought_part = part
        return [*chunks, ReasoningText(self._index, piece.text, part, piece.is_summary)]

    def end_thought(self, item: Item) -> list[Chunk]:
        """Take a whole piece of reasoning: what of it has not come yet."""
        texts = texts_of(item.get("summary")) or texts_of(item.get("content"))
        rest = self._thought.rest(self._constraints.separator.join(texts))
        part = self._thought_part if self._thought else None
        item_id = str(item.get("id") or "")
        pieces = [ReasoningDelta(it, part or item_id, item_id) for it in in_pieces(rest) if rest]
        chunks = [chunk for piece in pieces for chunk in self.think(piece)]
        self._thought = Delivered()
        if self._open is ItemKind.REASONING:
            return [*chunks, *self._end_item(item)]
        if self._open is None and self._constraints.shows_reasoning:  # nothing of it was said
            return [
                ItemBegan(self._index, ItemKind.REASONING, item_id),
                ItemEnded(self._index, item),
            ]
        return [*chunks, self._working]

    # Ends

    def end(self) -> list[Chunk]:
        """End what is open. Whatever was held back stands: the answer is over, or goes on with a call."""
        return [*self._let_go(), *self._end_item(), *self._release()]

    def let_all_go(self) -> list[Chunk]:
        """Pass on what waited for more text; what waits for a check is still held."""
        return [*self._let_go(), *self._flush()]

    def held_text(self) -> str:
        """Return the text that waits for a check."""
        return "".join(chunk.text for chunk in self._held if isinstance(chunk, Text))

    def replace_held(self, text: str) -> None:
        """Put one text in the place of all that waits for a check."""
        first = next(place for place, chunk in enumerate(self._held) if isinstance(chunk, Text))
        others = [chunk for chunk in self._held[first:] if not isinstance(chunk, Text)]
        self._held = [*self._held[:first], Text(self._index, text), *others]

    # Items

    def _begin_item(
        self, kind: ItemKind, item_id: str = "", phase: str | None = None
    ) -> list[Chunk]:
        if self._open is kind:
            return []
        ended = self._end_item()
        self._open = kind
        return [*ended, *self._emit(ItemBegan(self._index, kind, item_id, phase))]

    def _end_item(self, raw: Mapping[str, Any] | None = None) -> list[Chunk]:
        ended, self._open = self._open, None
        if ended is None:
            return []
        if ended is ItemKind.REASONING:
            return [ItemEnded(self._index, raw)]
        return [*self._flush(), *self._emit(ItemEnded(self._index, raw))]

    def _flush(self) -> list[Chunk]:
        fenced = "" if self._fence is None else self._fence.flush()
        text = self._stop.feed(fenced) + self._stop.flush()
        return self._emit(Text(self._index, text)) if text else []

    def _emit(self, chunk: Chunk) -> list[Chunk]:
        """Return a chunk of a message, unless it has to be held back."""
        if not self._holds:
            return [chunk]
        self._held.append(chunk)
        return [self._working]

    def _release(self) -> list[Chunk]:
        held, self._held = self._held, []
        return held


def texts_of(parts: Any, member: str = "text") -> list[str]:
    """Return the texts of an item's parts; a part of another shape has none."""
    known = [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    return [part[member] for part in known if isinstance(part.get(member), str)]
