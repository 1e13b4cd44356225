"""Cache of answers as the upstream made them, for the requests that bring them back.

Chat completions have no place for the model's encrypted reasoning, nor for the phases of its messages; without the one
it begins to think anew after every tool result, without the other it takes its own asides for answers. So the items of
an answer are kept, and put in the place of what a client echoes of them. They are found by the whole conversation
before them, so that nothing of one conversation ever gets into another. An optimisation only: never needed for a right
answer, and gone with the worker. Held in memory; of the key that has most, the oldest goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any, TypeAlias

import orjson
from cachetools import LRUCache

from app.answers.choice_text import texts_of
from app.backend.events import COMMENTARY
from app.backend.request import Item
from app.json_text import MOST_CHARACTERS, pieces
from app.shared_cache import SharedCache

MAX_BYTES = 16 * 1024 * 1024
"""Over all conversations."""

LONGEST_ANSWER = 1 << 20
"""Characters. A longer one is not kept: holding a client's words against it would take long."""

_LONGEST_COMPARED = 64 * 1024  # characters of JSON that is read for being compared

_ENTRY_COST = 500  # bytes that an entry costs beside its text, about
_MOST_ALTERNATIVES = 8  # answers to one conversation: choices, and the same question asked again


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an answer is: reasoning is encrypted for a login and a model, and belongs to the key that paid for it."""

    key: str
    login: str
    model: str


_Key: TypeAlias = tuple[Owner, bytes]
_Alternatives: TypeAlias = list[tuple[Item, ...]]


@dataclass(frozen=True, slots=True)
class Recalled:
    """Items of a conversation with kept answers in it, and the mark by which an answer to them is kept.

    `is_changed` is True if anything in them is not the client's.
    """

    items: tuple[Item, ...]
    mark: bytes
    is_changed: bool = False


class AnswerCache:
    """Answers by owner and conversation. No lock: nothing here yields between reading and changing.

    `on_evicted` is called for each conversation whose answers have made room.
    """

    def __init__(
        self, max_bytes: int = MAX_BYTES, on_evicted: Callable[[], object] = lambda: None
    ) -> None:
        def make() -> LRUCache[_Key, _Alternatives]:
            return LRUCache(max_bytes, getsizeof=_bytes_of)

        self._kept = SharedCache[_Key, _Alternatives](max_bytes, make, on_evicted)

    def recall(
        self, owner: Owner, items: Sequence[Item], pause: Callable[[], None] = lambda: None
    ) -> Recalled:
        """Return a conversation with the answers in it as the upstream made them. Linear, about 2 ns a byte.

        `pause` is called every now and then in a long one, and may let others change what is kept.
        """
        found: list[Item] = []
        conversation = blake2b(digest_size=16)
        is_changed, work = False, 0
        for block in _blocks(items):
            recalled = None
            if self._kept and _is_answer(block[0]):
                recalled = self._recall((owner, conversation.digest()), block)
            found += recalled or block
            is_changed = is_changed or recalled is not None
            for piece in chain.from_iterable(map(pieces, block)):
                conversation.update(piece)
                work += len(piece) + _ENTRY_COST
                if recalled is not None or work > MOST_CHARACTERS:
                    pause()
                    work = 0
        told = tuple(found if is_changed else items)
        return Recalled(told, conversation.digest(), is_changed)

    def _recall(self, key: _Key, block: Sequence[Item]) -> list[Item] | None:
        alternatives = self._kept.get(key[0].key, key)
        if alternatives is None:
            return None
        # Ids tell answers apart, but not always: a conversation may have stand-ins for them.
        likely = sorted(alternatives, key=lambda kept: _ids(kept) != _ids(block))
        return next(filter(None, (_merged(kept, block) for kept in likely)), None)

    def keep(self, owner: Owner, mark: bytes, items: Iterable[Item]) -> None:
        """Keep the items of an answer to the conversation of that mark, if a client could not give them back alike."""
        answer = tuple(_bare(item) for item in items if _is_worth_it(item))
        if not any(item["type"] == "reasoning" or item.get("phase") for item in answer):
            return
        if not any(item["type"] != "reasoning" for item in answer):
            return  # nothing by which it would be found again
        if _size(answer) > LONGEST_ANSWER:
            return
        key = (owner, mark)
        alternatives = [kept for kept in self._kept.get(owner.key, key) or () if kept != answer]
        self._kept.put(owner.key, key, [answer, *alternatives][:_MOST_ALTERNATIVES])

    def forget(self, owner: Owner) -> None:
        """Forget every answer of an owner: the upstream takes its own reasoning back no more."""
        for key in self._kept.keys(owner.key):
            if key[0] == owner:
                self._kept.pop(owner.key, key)

    def __repr__(self) -> str:
        return f"<AnswerCache {len(self._kept)} conversations, {self._kept.size} bytes>"


def without_reasoning(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return a conversation without what the model thought."""
    return tuple(item for item in items if item.get("type") != "reasoning")


def _blocks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the items one by one, but what belongs to one answer together."""
    block: list[Item] = []
    for item in items:
        if block and not (_is_answer(item) and _is_answer(block[0])):
            yield block
            block = []
        block.append(item)
    if block:
        yield block


def _is_answer(item: Item) -> bool:
    return item.get("type") == "function_call" or item.get("role") == "assistant"


def _is_worth_it(item: Item) -> bool:
    return item.get("type") != "reasoning" or bool(item.get("encrypted_content"))


_MEMBERS = {
    "reasoning": ("type", "id", "summary", "encrypted_content"),
    "message": ("type", "id", "role", "content", "phase"),
    "function_call": ("type", "call_id", "name", "arguments"),
}


def _bare(item: Item) -> Item:
    """Return what the upstream needs of an item; reasoning is good under its own id only."""
    bare = {name: item[name] for name in _MEMBERS[item["type"]] if item.get(name) is not None}
    if item["type"] == "reasoning":
        bare.setdefault("summary", [])
    if item["type"] == "message":
        bare["content"] = [
            {"type": "output_text", "text": text} for text in texts_of(item.get("content"))
        ]
    return bare


def _ids(items: Sequence[Item]) -> list[str]:
    return [item["call_id"] for item in items if item["type"] == "function_call"]


def _merged(kept: Sequence[Item], block: Sequence[Item]) -> list[Item] | None:
    """Return the kept items in place of what a client echoes; None if it is another answer.

    The calls are the client's, under the ids that the conversation has for them. Its text counts where it is another
    one than it was given; where it left the text out beside calls, it is put back.
    """
    calls = [item for item in block if item["type"] == "function_call"]
    said = [item for item in block if item["type"] != "function_call"]
    kept_calls = [item for item in kept if item["type"] == "function_call"]
    if len(calls) != len(kept_calls) or not all(map(_is_same_call, calls, kept_calls)):
        return None
    text = _squeezed(said)
    is_own_text = text not in _echoes(kept) and bool(text or not calls)
    if is_own_text and not calls:
        return None
    left, merged = iter(calls), list[Item]()
    for item in kept:
        if item["type"] == "function_call":
            merged.append(next(left))
        elif item["type"] == "reasoning" or not is_own_text:
            merged.append(item)
        else:  # the client's words, where the first of the model's were
            merged += said
            said = []
    return merged if not is_own_text else [*said, *merged]


def _echoes(kept: Sequence[Item]) -> tuple[bytes, bytes, bytes]:
    """Return the texts that a client may have been given: all, all but what was said on the way, the last message."""
    said = [item for item in kept if item["type"] == "message"]
    plain = [item for item in said if item.get("phase") != COMMENTARY]
    return _squeezed(said), _squeezed(plain), _squeezed(said[-1:])


def _is_same_call(ours: Item, kept: Item) -> bool:
    if ours["name"] != kept["name"]:
        return False
    return ours["call_id"] == kept["call_id"] or _is_same_json(ours["arguments"], kept["arguments"])


def _is_same_json(ours: str, kept: str) -> bool:
    """True for texts of one JSON value, which clients write anew, and for texts that are the same."""
    if ours == kept:
        return True
    if max(len(ours), len(kept)) > _LONGEST_COMPARED:
        return False
    try:
        return bool(orjson.loads(ours) == orjson.loads(kept))
    except (orjson.JSONDecodeError, RecursionError):  # no JSON, or too deep to be compared
        return False


def _squeezed(items: Iterable[Item]) -> bytes:
    """Return the text of messages without white space, which clients strip, and which parts messages."""
    texts = chain.from_iterable(texts_of(item.get("content")) for item in items)
    whole = b"".join(text.strip().encode("utf-8", "surrogatepass") for text in texts)
    return whole.translate(None, _WHITE_SPACE)


_WHITE_SPACE = b" \t\n\r\f\v"


def _bytes_of(alternatives: _Alternatives) -> int:
    return sum(map(_size, alternatives))


def _size(items: tuple[Item, ...]) -> int:
    return sum(_ENTRY_COST + _characters(item) for item in items)


def _characters(value: Any) -> int:
    """Return the length of all texts in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list) else 0
