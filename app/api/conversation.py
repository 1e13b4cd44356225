"""Conversation in the making: the input items that codex injects, and the calls that still wait for a result. Pure.

codex drops a tool result without a call silently and invents the result of an unanswered call (protocol notes,
section 4), so every endpoint refuses both: `answer` and `first_open` tell of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from app.answers.call_ids import CallIds
from app.answers.tools import alias_of
from app.backend.request import Item


class OpenCall(NamedTuple):
    """A call without a result: the id that its caller knows, the one upstream, and the field that it stands in.

    `words` are its name and arguments.
    """

    call_id: str
    upstream_id: str
    where: str
    words: tuple[str, str] = ("", "")


class Conversation:
    """Items in their order, from the first."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._call_ids = CallIds()
        self._open: dict[str, deque[OpenCall]] = {}

    @property
    def first_open(self) -> OpenCall | None:
        """The first call that still waits for its result."""
        return next(iter(self._open.values()))[0] if self._open else None

    def say(self, role: str, content: list[dict[str, Any]], **members: str) -> None:
        """Add a message; members of no text are left out."""
        given = {name: value for name, value in members.items() if value}
        self.items.append({"type": "message", "role": role, "content": content, **given})

    def call(self, name: str, arguments: str, call_id: str, where: str) -> None:
        """Add a call, of a function of any name: the model may have made it up. `where` is the call's field."""
        item = {
            "type": "function_call",
            "name": alias_of(name),
            "arguments": arguments,
            "call_id": self.expect(call_id, where, (name, arguments)),
        }
        self.items.append(item)

    def expect(self, call_id: str, where: str, words: tuple[str, str] = ("", "")) -> str:
        """Expect the result of a call, and return the call's id upstream."""
        upstream_id = self._call_ids.next(call_id)
        waiting = self._open.setdefault(call_id, deque())
        waiting.append(OpenCall(call_id, upstream_id, where, words))
        return upstream_id

    def awaits(self, name: str, arguments: str, call_id: str, where: str) -> bool:
        """Return True if this very call stands at `where` and waits for its result."""
        return any(
            call.where == where and call.words[0] == name and _is_same(call.words[1], arguments)
            for call in self._open.get(call_id, ())
        )

    def answer(self, call_id: str) -> str | None:
        """Take the first open call of this id as answered, and return its id upstream; None if there is none.

        Results of one id come in the order of its calls.
        """
        waiting = self._open.get(call_id)
        if not waiting:
            return None
        answered = waiting.popleft()
        if not waiting:
            del self._open[call_id]
        return answered.upstream_id

    def result(self, upstream_id: str, output: Any) -> None:
        """Add the result of a call, a text or content items."""
        self.items.append(
            {"type": "function_call_output", "call_id": upstream_id, "output": output}
        )

    def put(self, item: Mapping[str, Any]) -> None:
        """Add any other item."""
        self.items.append(item)


def _is_same(arguments: str, others: str) -> bool:
    """Return True for the same arguments, however their JSON is written."""
    if arguments == others:
        return True
    try:
        return bool(orjson.loads(arguments) == orjson.loads(others))
    except (orjson.JSONDecodeError, RecursionError):  # no JSON, or too deep to be compared
        return False
