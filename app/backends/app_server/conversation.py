"""Conversation as far as one thread holds it: marks that tell whether a request goes on where the thread stands. Pure.

Items are compared as they are translated, in the form in which they would go upstream. What two of them may differ in
is what clients alter when they echo an answer, and what makes no difference: white space at the ends of an answer, the
way in which the arguments of a call are written, one text or a list of one. The model's reasoning is no part of the
mark, since not every client can send it: a request must not bring any that the thread does not hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from app.backend.request import Item
from app.json_text import MOST_CHARACTERS, pieces

MOST_STANDS = 64
"""The latest answers of a conversation. A thread that stands before all of them is not looked for."""

_LONGEST_PARSED = 64 * 1024  # characters of arguments that are read for being compared
_ITEM_COST = 500  # characters that an item takes as long as
_PART_COST = 50  # the same for a part of one
_PARTS_AT_ONCE = 2000
_OUR_OWN = frozenset({"id", "status"})


class Conversation:
    """Items in their order, from the first. `mark` tells what they are, `reasoning` what the model thought."""

    # There is one for every open stream.
    __slots__ = ("mark", "reasoning")

    def __init__(self) -> None:
        self.mark = b""
        self.reasoning: tuple[bytes, ...] = ()

    def extend(self, items: Iterable[Item], pause: Callable[[], None] = lambda: None) -> int:
        """Add the next items; return their size in characters, about. `pause` is called now and then in long ones."""
        total = work = 0
        for item in items:
            for done in self.add_in_pieces(item):
                total, work = total + done, work + done
                if work > MOST_CHARACTERS:
                    pause()
                    work = 0
        return total

    def add_in_pieces(self, item: Item) -> Iterator[int]:
        """Add the next item, and yield now and then about how many characters were read since."""
        yield _ITEM_COST
        is_reasoning = item.get("type") == "reasoning"
        hashed = blake2b(b"" if is_reasoning else self.mark, digest_size=16)
        compared = _thought(item) if is_reasoning else (yield from _compared(item))
        for piece in pieces(compared):
            hashed.update(piece)
            yield len(piece)
        if is_reasoning:
            self.reasoning += (hashed.digest(),)
        else:
            self.mark = hashed.digest()


class Stand(NamedTuple):
    """Where a conversation stands after `length` items: its mark, and how much reasoning came before."""

    length: int
    mark: bytes
    reasoned: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Conversation that a request brings: its items, and where it stood behind each answer, the latest first."""

    items: tuple[Item, ...]
    whole: Conversation
    stands: tuple[Stand, ...]

    def reasoning_before(self, stand: Stand) -> frozenset[bytes]:
        """Return the marks of the reasoning up to there."""
        return frozenset(self.whole.reasoning[: stand.reasoned])


NOTHING = Asked((), Conversation(), ())
"""Where nobody asks which conversation it is."""


def read(items: tuple[Item, ...], pause: Callable[[], None] = lambda: None) -> Asked:
    """Return the conversation of a request. Linear, about 2 ns a byte; `pause` is called now and then in a long one."""
    whole, stands = Conversation(), deque[Stand](maxlen=MOST_STANDS)
    was_answer, work = False, 0
    for count, item in enumerate(items):
        is_answer = is_of_answer(item)
        if was_answer and not is_answer:
            stands.appendleft(Stand(count, whole.mark, len(whole.reasoning)))
        was_answer = is_answer
        for done in whole.add_in_pieces(item):
            work += done
            if work > MOST_CHARACTERS:
                pause()
                work = 0
    return Asked(items, whole, tuple(stands))


def is_of_answer(item: Item) -> bool:
    """Return True for what a model says: a message of the assistant, a call, reasoning."""
    return item.get("role") == "assistant" or item.get("type") in {"function_call", "reasoning"}


def _thought(item: Item) -> Any:
    return [item.get("id"), item.get("encrypted_content")]


def _compared(item: Item) -> Generator[int, None, Any]:
    """Return what is compared of an item, as a JSON value; yield as `add_in_pieces` does."""
    match item.get("type"):
        case "message" if item.get("role") == "assistant":
            said = yield from _said(item.get("content"))
            return ["said", item.get("phase"), said]
        case "message":
            return [item.get("role"), item.get("phase"), item.get("content")]
        case "function_call":
            arguments = _parsed(str(item.get("arguments", "")))
            return ["call", item.get("name"), item.get("call_id"), arguments]
        case "function_call_output":
            return ["output", item.get("call_id"), plain_output(item.get("output"))]
    return {name: item[name] for name in sorted(item) if name not in _OUR_OWN}


def _said(content: Any) -> Generator[int, None, Any]:
    """Return the text of an answer, or its parts where they are more than text."""
    if not isinstance(content, list):
        return content
    texts: list[str] = []
    for start in range(0, len(content), _PARTS_AT_ONCE):
        parts = content[start : start + _PARTS_AT_ONCE]
        texts += [str(part.get("text")) for part in parts if part.get("type") == "output_text"]
        yield _PART_COST * len(parts)
    return content if len(texts) != len(content) else "".join(texts).strip()


def plain_output(output: Any) -> Any:
    """Return the output of a call; a list of one text as this text."""
    if isinstance(output, list) and len(output) == 1 and output[0].get("type") == "input_text":
        return output[0].get("text")
    return output


def _parsed(arguments: str) -> Any:
    """Return the JSON value of arguments in one form, since clients write it anew; text that is none as it is."""
    if len(arguments) > _LONGEST_PARSED:
        return arguments
    try:
        return orjson.dumps(orjson.loads(arguments), option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # no JSON, or too deep to be written
        return arguments
