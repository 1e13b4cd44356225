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
from app.rpc.messages import Request

Answer = Callable[[Request, Mapping[str, Any]], None]
"""Sends a result to codex; does not block."""


class ToolCalls:
    """Calls of the response at hand, and what codex asked about them."""

    __slots__ = ("_asked", "_given", "_made", "_offered", "is_complete")

    def __init__(self, offered: Iterable[str] = ()) -> None:
        self._offered = frozenset(offered)
        self._made: list[Item] = []
        self._asked: dict[str, Request] = {}
        self._given: dict[str, Any] = {}
        self.is_complete = False
        """True once all calls of the response are known: codex then waits for nothing but their results."""

    def made(self, item: Item) -> None:
        """Take a call that the model has made."""
        if self.is_complete:  # of the response before
            self._made.clear()
            self.is_complete = False
        self._made.append(item)

    def response_ended(self) -> None:
        """Note that the response is whole."""
        self.is_complete = bool(self._made)

    def can_wait(self) -> bool:
        """Return True if codex asks for the result of every call, and answers none of them itself."""
        ids = [item.get("call_id") for item in self._made]
        are_told_apart = all(ids) and len(set(ids)) == len(ids)
        return (
            self.is_complete
            and are_told_apart
            and all(item.get("name") in self._offered and _is_json(item) for item in self._made)
        )

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
        self._made.clear()
        self.is_complete = False

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


def _is_json(call: Item) -> bool:
    try:
        orjson.loads(str(call.get("arguments")))
    except orjson.JSONDecodeError:
        return False
    return True


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
