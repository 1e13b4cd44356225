"""Calls of a client's tools on one thread: codex waits for their results, which the next request brings. Pure.

codex asks for the result of one call after the other: of the second once it has that of the first. So results that
were given are kept until they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from app.backend.request import Item
from app.backends.app_server.conversation import plain_output
from app.json_cost import MOST_VALUES, ValueCount
from app.rpc.messages import Request

_DEEPEST = 127
"""Levels of arguments that codex reads (measured). It answers a call with more by itself, and asks the model again."""

Answer = Callable[[Request, Mapping[str, Any]], None]
"""Sends a result to codex; does not block."""


class ToolCalls:
    """Calls of the response at hand, and what codex asked about them."""

    __slots__ = ("_asked", "_given", "_made", "_offered", "_will_wait", "is_complete")

    def __init__(self, offered: Iterable[str] = ()) -> None:
        self._offered = frozenset(offered)
        self._made: list[Item] = []
        self._asked: dict[str, Request] = {}
        self._given: dict[str, Any] = {}
        self.is_complete = False
        """True once all calls of the response are known."""
        self._will_wait = False

    def made(self, item: Item) -> None:
        """Take a call that the model has made."""
        if self.is_complete:  # of the response before
            self._forget_calls()
        self._made.append(item)

    def response_ended(self) -> None:
        """Note that the response is whole."""
        self.is_complete = bool(self._made)
        self._will_wait = self.is_complete and self._are_for_client()

    def can_wait(self) -> bool:
        """Return True if codex asks for the result of every call, and answers none of them itself."""
        return self._will_wait

    def _are_for_client(self) -> bool:
        ids = [item.get("call_id") for item in self._made]
        are_told_apart = all(ids) and len(set(ids)) == len(ids)
        are_offered = all(item.get("name") in self._offered for item in self._made)
        return are_told_apart and are_offered and _are_read([*map(_arguments, self._made)])

    def _forget_calls(self) -> None:
        self._made.clear()
        self.is_complete = self._will_wait = False

    def results_in(self, items: Sequence[Item]) -> int:
        """Return how many items at the beginning are the results of all calls, in order; 0 if they are not."""
        results = items[: len(self._made)]
        asked = [call.get("call_id") for call in self._made]
        answered = [
            item.get("call_id") for item in results if item.get("type") == "function_call_output"
        ]
        is_text = all(_texts_of(item.get("output")) is not None for item in results)
        return len(results) if answered == asked and is_text else 0

    def give(self, results: Iterable[Item], answer: Answer) -> None:
        """Give codex the results, now or when it asks for them. Does not block."""
        for item in results:
            call_id = str(item["call_id"])
            self._given[call_id] = plain_output(item["output"])
            if (request := self._asked.pop(call_id, None)) is not None:
                answer(request, _result(item["output"]))
        self._forget_calls()

    def ask(self, request: Request, answer: Answer) -> bool:
        """Take a question of codex's; answer it if the result is there. True if it was."""
        call_id = str(request.params.get("callId"))
        if call_id in self._given:
            answer(request, _result(self._given[call_id]))
            return True
        self._asked[call_id] = request
        return False

    def withdraw(self, request: Request) -> bool:
        """Forget a question of codex's that nobody has answered; False if it was answered."""
        call_id = str(request.params.get("callId"))
        if self._asked.get(call_id) is not request:  # a later call may have the same id
            return False
        del self._asked[call_id]
        return True

    def is_given(self, item: Item) -> bool:
        """Return True for a result that was given, as codex tells of it. Each is told once."""
        call_id = str(item.get("call_id"))
        if call_id not in self._given:
            return False
        given: object = self._given.pop(call_id)
        return bool(given == plain_output(item.get("output")))

    def __repr__(self) -> str:
        return f"<ToolCalls made={len(self._made)} asked={len(self._asked)}>"


def _arguments(call: Item) -> bytes:
    return str(call.get("arguments")).encode("utf-8", "surrogatepass")


def _are_read(texts: Sequence[bytes]) -> bool:
    """Return True for arguments that codex reads, and that are looked through here in a moment."""
    if sum(ValueCount().feed(text) for text in texts) > MOST_VALUES:
        return False
    try:
        level = [orjson.loads(text) for text in texts]
    except orjson.JSONDecodeError:
        return False
    for _ in range(_DEEPEST):
        level = [inner for value in level for inner in _values_in(value)]
    return not any(isinstance(value, dict | list) for value in level)


def _values_in(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _texts_of(output: Any) -> list[str] | None:
    """Return the texts of an output; None if there is more in it: codex would send an image in another way."""
    if isinstance(output, str):
        return [output]
    if not isinstance(output, list) or any(part.get("type") != "input_text" for part in output):
        return None
    return [part["text"] for part in output]


def _result(output: Any) -> Mapping[str, Any]:
    texts = _texts_of(output) or []
    return {"contentItems": [{"type": "inputText", "text": it} for it in texts], "success": True}
