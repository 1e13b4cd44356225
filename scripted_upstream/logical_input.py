"""Logical input of a request that continues another one: what the model is given, whatever was sent. Pure.

On a WebSocket a client sends only what is new, and names the response that it follows. That one's input and output come
before. The server keeps them for the connection alone, as OpenAI does where nothing is stored.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Continuations:
    """The last responses of one connection: their ids, and the items that came up to their end."""

    most: int = 4
    _items: dict[str, list[Any]] = field(default_factory=dict)

    def whole(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Return the request as if it had been sent whole, or None where the named response is not known."""
        request = {name: value for name, value in message.items() if name != "type"}
        request["stream"] = True
        before = request.get("previous_response_id")
        if before is None:
            return request
        items = self._items.get(before)
        return None if items is None else {**request, "input": [*items, *request["input"]]}

    def keep(self, response_id: str, request: dict[str, Any], output: list[Any]) -> None:
        """Remember a response that was sent to the end."""
        given = request["input"]
        self._items[response_id] = [*(given if isinstance(given, list) else []), *output]
        while len(self._items) > self.most:
            del self._items[next(iter(self._items))]


def counted(given: Any) -> Any:
    """Return an input without what a model is not given: how an item ended, empty lists in it, thoughts not sealed."""
    if not isinstance(given, list):
        return given
    return [_counted(item) for item in given if not _is_lost_thought(item)]


def _counted(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    kept = {name: value for name, value in item.items() if name != "status"}
    if isinstance(parts := item.get("content"), list):
        kept["content"] = [
            _without_empty(part) if isinstance(part, dict) else part for part in parts
        ]
    return kept


def _without_empty(part: dict[str, Any]) -> dict[str, Any]:
    unsaid = ("annotations", "logprobs")
    return {name: value for name, value in part.items() if value or name not in unsaid}


def _is_lost_thought(item: Any) -> bool:
    is_reasoning = isinstance(item, dict) and item.get("type") == "reasoning"
    return is_reasoning and not item.get("encrypted_content")


def is_warm_up(request: dict[str, Any]) -> bool:
    """Return True for a request that only prepares the next one: nothing is generated, and nothing is charged."""
    return request.get("generate") is False
