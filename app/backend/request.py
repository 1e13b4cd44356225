"""Requests for turns: what a backend is asked, the items that it is made of, and the models on offer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

Item: TypeAlias = Mapping[str, Any]
"""One input item of the Responses API: a message, a function call, its output, reasoning."""


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One question to the model: the whole history, as Responses API input items, and how to answer it.

    `tools` are codex's `DynamicToolSpec`s. `summary` asks for reasoning summaries. None leaves a matter to codex.

    `conversation` is what the client calls this one, if it has a name for it. A backend may go on where an answer in it
    ended, unless this `is_another_try`; and may keep what it has for the next request, unless this one `is_final`: has
    items at its end that no other will bring, or none follows it.
    """

    model: str
    items: tuple[Item, ...]
    effort: str | None = None
    summary: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    output_schema: Mapping[str, Any] | None = None
    service_tier: str | None = None
    verbosity: str | None = None
    conversation: str | None = None
    is_another_try: bool = False
    is_final: bool = False

    def opened_with(self, instructions: Sequence[Item]) -> TurnRequest:
        """Return the same question with items of ours behind what the developer says at its beginning.

        They stand in the same place in every round of a conversation that asks for them.
        """
        if not instructions:
            return self
        place = next((at for at, item in enumerate(self.items) if not _is_developers(item)), None)
        before = self.items[:place]
        return replace(self, items=(*before, *instructions, *self.items[len(before) :]))

    def corrected(self, instruction: Item) -> TurnRequest:
        """Return the same question with an item at its end that is no part of the conversation."""
        return replace(self, items=(*self.items, instruction), is_final=True)


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of `model/list`. Without a default none is sent where nobody asks for an effort."""

    id: str
    efforts: tuple[str, ...]
    default_effort: str | None


_CHARACTERS_PER_TOKEN = 4


def developer_item(text: str) -> Item:
    """Return an input item that tells the model something in the developer's name."""
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "developer", "content": content}


def _is_developers(item: Item) -> bool:
    return item.get("role") == "developer"


def estimate_tokens(items: Iterable[Item]) -> int:
    """Return roughly how many tokens the items are, for a turn whose usage codex cannot report."""
    found = 0
    for item in items:
        for said in (item.get("content"), item.get("output")):
            texts = (part.get("text") for part in said) if isinstance(said, list) else (said,)
            found += sum(map(characters, texts))
        found += characters(item.get("arguments"))
    return found // _CHARACTERS_PER_TOKEN + 1


def characters(value: Any) -> int:
    """Return how many characters the texts in a JSON value have. Linear in its values, whatever their length."""
    found, waiting = 0, [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str):
            found += len(entry)
        elif isinstance(entry, dict):
            waiting += entry.values()
        elif isinstance(entry, list | tuple):
            waiting += entry
    return found
