"""Output of a response in the making: chunks in, typed events and finished items out. Pure.

One state machine for streams and whole answers: the items are what the events add up to. At most one item is open at a
time. An item is announced with the first that a client can see of it, since until then another try may take its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

from app.answers.chunks import (
    CallArguments,
    CallBegan,
    Chunk,
    Ended,
    ItemBegan,
    ItemEnded,
    ItemKind,
    ReasoningText,
    Refusal,
    Rerouted,
    Restarted,
    Text,
    Working,
    in_pieces,
)
from app.api.responses.open_items import (
    COMPLETED,
    CUSTOM,
    FUNCTION,
    INCOMPLETE,
    TEXT,
    CallItem,
    Event,
    MessageItem,
    ReasoningItem,
)
from app.api.responses.resource import status_of
from app.api.tools import CallForm, ClientTool, text_of
from app.backend.request import Item


class Output:
    """Output of one response: `shown` has the finished items as its client sees them, `kept` what it takes to go on.

    `tools` are the client's, by the names in the chunks. `seed` is what ids are made of where the upstream gives none.
    `shows_encrypted` is True where the client wants the encrypted content of the reasoning.
    """

    __slots__ = (
        "_arguments",
        "_began",
        "_ending",
        "_ids",
        "_open",
        "_quiet",
        "_seed",
        "_shows_encrypted",
        "_tools",
        "kept",
        "shown",
    )

    def __init__(
        self, seed: str, tools: Mapping[str, ClientTool], *, shows_encrypted: bool
    ) -> None:
        self._seed, self._tools, self._shows_encrypted = seed, tools, shows_encrypted
        self.shown: list[dict[str, Any]] = []
        self.kept: list[Item] = []
        self._ids: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        """Forget what nobody has seen."""
        self._began: ItemBegan | CallBegan | None = None
        self._arguments: list[str] = []
        self._quiet: list[tuple[ItemBegan, Item | None, str]] = []  # without a word, not announced
        self._open: MessageItem | ReasoningItem | None = None
        self._ending: ItemEnded | None = None  # of the item that is open

    def take(self, chunk: Chunk) -> Iterator[Event]:
        """Yield the events of one chunk.

        Those of a message's end come with the next chunk, since only that tells whether the model chose it.
        """
        if not isinstance(chunk, Working | Rerouted):
            yield from self.settle(_status_before(chunk))
        match chunk:
            case Text() | Refusal() | ReasoningText():
                yield from self._say(chunk)
            case ItemBegan() | CallBegan():
                yield from self.cut(COMPLETED)
                self._began = chunk
                self._arguments = []
            case CallArguments(text=text):
                self._arguments.append(text)
            case ItemEnded():
                yield from self._on_end(chunk)
            case Ended():
                yield from self._say_quiet()
            case Restarted():
                self._reset()

    def take_more(self, text: str) -> bool:
        """Take one more piece of the text that is open: the event is like the one before. False for any other case."""
        message = self._open
        if self._ending is not None or not isinstance(message, MessageItem):
            return False
        return message.add_more(TEXT, text)

    def _on_end(self, ended: ItemEnded) -> Iterator[Event]:
        if isinstance(self._began, CallBegan):
            yield from self._call(self._began)
        elif isinstance(self._open, ReasoningItem):
            yield from self._end_item(ended.raw, COMPLETED)
        else:
            self._ending = ended

    def settle(self, status: str = COMPLETED) -> Iterator[Event]:
        """End the item whose end has come, if there is one; `status` is a message's."""
        ending, self._ending = self._ending, None
        if ending is not None:
            yield from self._end_item(ending.raw, status)

    def silence(self) -> Event | None:
        """Return an event that adds nothing to what is open, None if there is nothing to add to."""
        return None if self._open is None else self._open.silence()

    def cut(self, status: str = INCOMPLETE) -> Iterator[Event]:
        """End the item that is open, if there is one."""
        ended, self._open = self._open, None
        if ended is not None:
            yield from ended.end(status)
            self._finish(ended.done(status))

    # Items with text

    def _say(self, chunk: Text | Refusal | ReasoningText) -> Iterator[Event]:
        if isinstance(chunk, ReasoningText):
            reasoning, opening = self._reasoning()
            yield from opening
            yield from reasoning.think(chunk)
            return
        message, opening = self._message()
        yield from opening
        if isinstance(chunk, Text):
            yield from message.say(chunk.text)
            return
        for piece in in_pieces(chunk.text):
            yield from message.refuse(piece)

    def _message(self) -> tuple[MessageItem, list[Event]]:
        """Return the message that is open, and the events that open it if there was none."""
        if isinstance(self._open, MessageItem):
            return self._open, []
        opening, began = self._room()
        phase = began.phase if began else None
        self._open = MessageItem(self._id(began, "msg"), len(self.shown), phase)
        return self._open, [*opening, *self._open.begin()]

    def _reasoning(self) -> tuple[ReasoningItem, list[Event]]:
        if isinstance(self._open, ReasoningItem):
            return self._open, []
        opening, began = self._room()
        self._open = ReasoningItem(self._id(began, "rs"), len(self.shown))
        return self._open, [*opening, *self._open.begin()]

    def _room(self) -> tuple[list[Event], ItemBegan | None]:
        """Return the events that come before another item is announced, and what is known of it."""
        events = [*self.cut(COMPLETED), *self._say_quiet()]
        began, self._began = self._began, None
        return events, began if isinstance(began, ItemBegan) else None

    def _end_item(self, raw: Item | None, status: str) -> Iterator[Event]:
        began, self._began = self._began, None
        if isinstance(began, ItemBegan):
            if raw is not None or began.kind is ItemKind.MESSAGE:
                self._quiet.append((began, raw, status))
            return
        ended, self._open = self._open, None
        if ended is not None:
            yield from self._end(ended, raw, status)

    def _end(
        self, item: MessageItem | ReasoningItem, raw: Item | None, status: str
    ) -> Iterator[Event]:
        encrypted = _encrypted(raw, item.item_id) if isinstance(item, ReasoningItem) else None
        shown = encrypted if self._shows_encrypted else None
        yield from item.end(status, shown)
        self._finish(item.done(status, shown), item.done(status, encrypted))

    def _say_quiet(self) -> Iterator[Event]:
        """Announce what came without a word."""
        quiet, self._quiet = self._quiet, []
        for began, raw, status in quiet:
            item = self._new(began)
            yield from item.begin()
            yield from self._end(item, raw, status)

    def _new(self, began: ItemBegan) -> MessageItem | ReasoningItem:
        """Return the next item of the output."""
        place = len(self.shown)
        if began.kind is ItemKind.REASONING:
            return ReasoningItem(self._id(began, "rs"), place)
        return MessageItem(self._id(began, "msg"), place, began.phase)

    # Calls

    def _call(self, began: CallBegan) -> Iterator[Event]:
        self._began = None
        yield from self._say_quiet()
        arguments, tool = "".join(self._arguments), self._tools.get(began.name)
        who = {"call_id": began.call_id, "name": began.name if tool is None else tool.name}
        if tool is not None and tool.namespace is not None:
            who["namespace"] = tool.namespace
        if tool is not None and tool.form is CallForm.CUSTOM:
            form, prefix, text = CUSTOM, "ctc", text_of(arguments)
        else:
            form, prefix, text = FUNCTION, "fc", arguments
        item = CallItem(self._id(None, prefix), len(self.shown), form, who)
        yield from item.begin()
        yield from item.call(in_pieces(text))
        yield from item.end(COMPLETED)
        self._finish(item.done(COMPLETED))

    # What is finished

    def _finish(self, shown: dict[str, Any], kept: dict[str, Any] | None = None) -> None:
        self.shown.append(shown)
        self.kept.append(shown if kept is None else kept)

    def _id(self, began: ItemBegan | None, prefix: str) -> str:
        """Return the upstream's id of an item, or one of ours where it has none of that kind, or had it already."""
        given = "" if began is None else began.item_id
        if not given.startswith(f"{prefix}_") or given in self._ids:
            words = f"{self._seed}\0{len(self.shown)}".encode()
            given = f"{prefix}_{blake2b(words, digest_size=24).hexdigest()}"
        self._ids.add(given)
        return given


def _status_before(chunk: Chunk) -> str:
    """Return the status of a message that ended right before a chunk."""
    is_cut = isinstance(chunk, Ended) and status_of(chunk.cause) == INCOMPLETE
    return INCOMPLETE if is_cut else COMPLETED


def _encrypted(raw: Item | None, item_id: str) -> str | None:
    """Return the encrypted content of reasoning; it is good under the upstream's id only."""
    if raw is None or raw.get("id") != item_id:
        return None
    encrypted = raw.get("encrypted_content")
    return encrypted if isinstance(encrypted, str) else None
