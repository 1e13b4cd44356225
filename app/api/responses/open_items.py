"""Open items of a response: a message, a piece of reasoning or a call while it comes, as events and as the item. Pure.

Each method yields events without their `sequence_number`. Members and order: OpenAI API reference, "Streaming events".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from app.answers.chunks import ReasoningText

Event: TypeAlias = dict[str, Any]
"""An event without its `sequence_number`."""

COMPLETED, INCOMPLETE = "completed", "incomplete"


class OpenItem(ABC):
    """An item at its place in the output; `item_id` is the one that its client knows."""

    __slots__ = ("_index", "item_id")

    def __init__(self, item_id: str, index: int) -> None:
        self.item_id, self._index = item_id, index

    def begin(self) -> Iterator[Event]:
        """Announce the item."""
        yield self._event("response.output_item.added", item=self._item("in_progress"))

    def end(self, status: str, encrypted: str | None = None) -> Iterator[Event]:
        """End what is open in the item, and the item. `encrypted` is content of the reasoning that is to be shown."""
        yield from self._end_part()
        yield self._event("response.output_item.done", item=self.done(status, encrypted))

    def done(self, status: str, encrypted: str | None = None) -> dict[str, Any]:
        """Return the whole item."""
        item = self._item(status)
        return item if encrypted is None else {**item, "encrypted_content": encrypted}

    @abstractmethod
    def silence(self) -> Event | None:
        """Return an event that adds nothing, None where nothing can be added to now."""

    @abstractmethod
    def _item(self, status: str) -> dict[str, Any]: ...

    @abstractmethod
    def _end_part(self) -> Iterator[Event]: ...

    def _event(self, kind: str, **members: Any) -> Event:
        return {"type": kind, "output_index": self._index, **members}


class _Parts(OpenItem):
    """An item whose text comes in parts, one after the other. `_names` tells of a part by its kind."""

    __slots__ = ("_kind", "_parts", "_texts")

    def __init__(self, item_id: str, index: int) -> None:
        super().__init__(item_id, index)
        self._kind = ""
        self._texts: list[str] = []
        self._parts: list[dict[str, Any]] = []

    def _add(self, kind: str, text: str) -> Iterator[Event]:
        """Add text to the part of this kind that is open, or to a new one."""
        if self._kind != kind:
            yield from self._end_part()
            self._kind, self._texts = kind, []
            yield self._part_event("added", self._part(kind, ""))
        self._texts.append(text)
        yield self._delta(text)

    def add_more(self, kind: str, text: str) -> bool:
        """Add text to the part that is open, whose event is like the one before; False if none of this kind is."""
        if self._kind != kind:
            return False
        self._texts.append(text)
        return True

    def _end_part(self) -> Iterator[Event]:
        if not self._kind:
            return
        text = "".join(self._texts)
        part = self._part(self._kind, text)
        yield self._done(text)
        yield self._part_event("done", part)
        self._parts.append(part)
        self._kind, self._texts = "", []

    def silence(self) -> Event | None:
        """See `OpenItem`."""
        return self._delta("") if self._kind else None

    @abstractmethod
    def _part(self, kind: str, text: str) -> dict[str, Any]: ...

    @abstractmethod
    def _part_event(self, what: str, part: dict[str, Any]) -> Event: ...

    @abstractmethod
    def _delta(self, text: str) -> Event: ...

    @abstractmethod
    def _done(self, text: str) -> Event: ...


TEXT = "output_text"
TEXT_DELTA = "response.output_text.delta"


class MessageItem(_Parts):
    """A message of the model. `phase` is the upstream's word for its part in the answer."""

    __slots__ = ("_phase",)

    def __init__(self, item_id: str, index: int, phase: str | None) -> None:
        super().__init__(item_id, index)
        self._phase = phase

    def say(self, text: str) -> Iterator[Event]:
        """Add a piece of text."""
        return self._add(TEXT, text)

    def refuse(self, text: str) -> Iterator[Event]:
        """Add a piece of a refusal."""
        return self._add("refusal", text)

    def _item(self, status: str) -> dict[str, Any]:
        item: dict[str, Any] = {"id": self.item_id, "type": "message", "status": status}
        phase = {} if self._phase is None else {"phase": self._phase}
        return {**item, "role": "assistant", **phase, "content": [*self._parts]}

    def _part(self, kind: str, text: str) -> dict[str, Any]:
        if kind == "refusal":
            return {"type": kind, "refusal": text}
        return {"type": kind, "annotations": [], "logprobs": [], "text": text}

    def _part_event(self, what: str, part: dict[str, Any]) -> Event:
        return self._content(f"response.content_part.{what}", part=part)

    def _delta(self, text: str) -> Event:
        if self._kind == "refusal":
            return self._content("response.refusal.delta", delta=text)
        return self._content(TEXT_DELTA, delta=text, logprobs=[])

    def _done(self, text: str) -> Event:
        if self._kind == "refusal":
            return self._content("response.refusal.done", refusal=text)
        return self._content("response.output_text.done", text=text, logprobs=[])

    def _content(self, kind: str, **members: Any) -> Event:
        place = {"item_id": self.item_id, "content_index": len(self._parts)}
        return self._event(kind, **place, **members)


class ReasoningItem(_Parts):
    """A piece of the model's reasoning: paragraphs of its summary, or the text itself."""

    __slots__ = ("_content", "_part_name")

    def __init__(self, item_id: str, index: int) -> None:
        super().__init__(item_id, index)
        self._part_name = ""
        self._content: list[dict[str, Any]] = []

    def think(self, piece: ReasoningText) -> Iterator[Event]:
        """Add a piece of reasoning."""
        if piece.part != self._part_name:
            yield from self._end_part()
            self._part_name = piece.part
        yield from self._add("summary_text" if piece.is_summary else "reasoning_text", piece.text)

    def _end_part(self) -> Iterator[Event]:
        is_content = self._kind == "reasoning_text"
        yield from super()._end_part()
        if is_content:
            self._content.append(self._parts.pop())

    def _item(self, status: str) -> dict[str, Any]:
        content = {"content": [*self._content]} if self._content else {}
        return {"id": self.item_id, "type": "reasoning", "summary": [*self._parts], **content}

    def _part(self, kind: str, text: str) -> dict[str, Any]:
        return {"type": kind, "text": text}

    def _part_event(self, what: str, part: dict[str, Any]) -> Event:
        if self._kind == "reasoning_text":
            return self._placed(f"response.content_part.{what}", part=part)
        return self._placed(f"response.reasoning_summary_part.{what}", part=part)

    def _delta(self, text: str) -> Event:
        name = "reasoning_text" if self._kind == "reasoning_text" else "reasoning_summary_text"
        return self._placed(f"response.{name}.delta", delta=text)

    def _done(self, text: str) -> Event:
        name = "reasoning_text" if self._kind == "reasoning_text" else "reasoning_summary_text"
        return self._placed(f"response.{name}.done", text=text)

    def _placed(self, kind: str, **members: Any) -> Event:
        place = {"item_id": self.item_id}
        if self._kind == "reasoning_text":
            return self._event(kind, **place, content_index=len(self._content), **members)
        return self._event(kind, **place, summary_index=len(self._parts), **members)


@dataclass(frozen=True, slots=True)
class CallKind:
    """Names of a kind of calls: of its items, of the member that has what is called with, of its events."""

    item: str
    argument: str
    event: str


FUNCTION = CallKind("function_call", "arguments", "response.function_call_arguments")
CUSTOM = CallKind("custom_tool_call", "input", "response.custom_tool_call_input")


class CallItem(OpenItem):
    """A call. `who` has its id, and the name of what is called."""

    __slots__ = ("_kind", "_text", "_who")

    def __init__(self, item_id: str, index: int, kind: CallKind, who: dict[str, str]) -> None:
        super().__init__(item_id, index)
        self._kind, self._who, self._text = kind, who, ""

    def call(self, pieces: Iterator[str]) -> Iterator[Event]:
        """Give what it is called with, in pieces."""
        place, event = {"item_id": self.item_id}, self._kind.event
        for piece in pieces:
            self._text += piece
            yield self._event(f"{event}.delta", **place, delta=piece)
        yield self._event(f"{event}.done", **place, **{self._kind.argument: self._text})

    def silence(self) -> Event | None:
        """See `OpenItem`: a call comes whole."""
        return None

    def _item(self, status: str) -> dict[str, Any]:
        item = {"id": self.item_id, "type": self._kind.item, **self._who}
        return {**item, self._kind.argument: self._text, "status": status}

    def _end_part(self) -> Iterator[Event]:
        yield from ()
