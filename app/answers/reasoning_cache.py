"""Cache of the model's encrypted reasoning, between the rounds of a tool loop.

Where an endpoint has no place for it, a client cannot send it back; without it the model begins to think anew after
every tool result. It is kept under the id of the first call that followed it, for the key that asked: an optimisation
only, never needed for a right answer, and gone with the worker. Held in memory, oldest out first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import orjson

from app.backend.request import Item

MAX_BYTES = 16 * 1024 * 1024
"""Over all conversations."""

_ENTRY_COST = 500  # bytes that an entry costs beside its text, about


class ReasoningCache:
    """Reasoning items by owner and call id. No lock: nothing here yields between reading and changing."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str], tuple[Item, ...]] = OrderedDict()

    def keep(self, owner: str, call_id: str, items: Iterable[Item]) -> None:
        """Keep what the model thought before it made this call; `owner` tells whose: a key and a login."""
        kept = tuple(_bare(item) for item in items)
        if not kept:
            return
        self._drop((owner, call_id))
        self._kept[owner, call_id] = kept
        self._bytes += _size(kept)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def with_reasoning(self, owner: str, items: Sequence[Item]) -> tuple[Item, ...]:
        """Return the items of a conversation with the reasoning before the calls that it led to."""
        if not self._kept:
            return tuple(items)
        found: list[Item] = []
        for item in items:
            if item.get("type") == "function_call":
                found += self._kept.get((owner, str(item.get("call_id"))), ())
            found.append(item)
        return tuple(found)

    def _drop(self, key: tuple[str, str]) -> None:
        self._bytes -= _size(self._kept.pop(key, ()))

    def __repr__(self) -> str:
        return f"<ReasoningCache {len(self._kept)} calls, {self._bytes} bytes>"


def _bare(item: Item) -> Item:
    """Return what the upstream needs of a reasoning item; codex gives it a new id."""
    return {
        "type": "reasoning",
        "summary": item.get("summary") or [],
        "encrypted_content": item["encrypted_content"],
    }


def _size(items: tuple[Item, ...]) -> int:
    return sum(_ENTRY_COST + len(orjson.dumps(item)) for item in items)
