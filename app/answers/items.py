"""Input items that the gateway makes itself, and the estimate of what items cost. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from app.backend.request import Item

_CHARACTERS_PER_TOKEN = 4


def developer_item(text: str) -> Item:
    """Return an input item that tells the model something in the developer's name."""
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "developer", "content": content}


def estimate_tokens(items: Iterable[Item]) -> int:
    """Return roughly how many tokens the items are, for a turn whose usage codex cannot report."""
    characters = 0
    for item in items:
        for part in item.get("content", ()):
            characters += len(part.get("text", ""))
        characters += len(item.get("arguments", "")) + len(item.get("output", ""))
    return characters // _CHARACTERS_PER_TOKEN + 1
