"""Chat messages to the input items that codex injects. Pure.

Order and text are kept exactly. `system` becomes `developer`, because codex drops an injected `system` item silently;
it also drops a tool result without a call and invents the result of an unanswered call (protocol notes, section 4), so
both are refused here. Every refusal names the field.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from app.answers.call_ids import CallIds
from app.answers.field_errors import (
    checked_length,
    invalid_type,
    invalid_value,
    missing,
    required_string,
)
from app.answers.tools import alias_of
from app.api.chat_completions.content import (
    OUTPUT_PARTS,
    ImageFields,
    Past,
    PixelCount,
    input_parts,
    to_content,
    to_text,
)
from app.backend.request import Item
from app.errors import InvalidRequest


def to_items(
    messages: Sequence[Any],
    image_fields: ImageFields | None = None,
    past: Past | None = None,
    count: PixelCount | None = None,
) -> tuple[Item, ...]:
    """Return the input items; remote images after the last answer are noted in `image_fields`, others in `past`.

    `count` is of the images that are not remote. Raises `InvalidRequest`. Linear, a few µs a message.
    """
    conversation = _Conversation(
        {} if image_fields is None else image_fields, past or Past(), count or PixelCount()
    )
    answered = _count_answered(messages)
    for index, message in enumerate(messages):
        conversation.add(message, f"messages[{index}]", is_past=index < answered)
    conversation.check_answered()
    return tuple(conversation.items)


def _count_answered(messages: Sequence[Any]) -> int:
    """Return how many messages there are up to the model's last answer; what follows is what it is asked now."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if isinstance(message, dict) and message.get("role") == "assistant":
            return index + 1
    return 0


class _Conversation:
    """The items so far, and the calls that still wait for their result."""

    def __init__(self, image_fields: ImageFields, past: Past, count: PixelCount) -> None:
        self.items: list[Item] = []
        self._present_parts = input_parts(image_fields, count)
        self._past_parts = input_parts(past.images, count)
        self._all_past = past
        self._past: Past | None = None
        """Set while a message is read that the model has answered already."""
        self._call_ids = CallIds()
        self._open: dict[str, deque[tuple[str, str]]] = {}
        """The caller's id to the calls that it stands for: each one's id upstream, and where the call stands."""

    def add(self, message: Any, where: str, *, is_past: bool) -> None:
        if not isinstance(message, dict):
            raise invalid_type(where, "an object", message)
        role = message.get("role")
        if role is None:
            raise missing(f"{where}.role")
        convert = ROLES.get(role) if isinstance(role, str) else None
        if convert is None:
            raise invalid_value(f"{where}.role", role, ROLES)
        if role not in {"tool", "function"}:
            self.check_answered()
        self._past = self._all_past if is_past else None
        convert(self, message, where)

    def check_answered(self) -> None:
        if self._open:
            call_id, waiting = next(iter(self._open.items()))
            _, where = waiting[0]
            raise InvalidRequest(
                f"An assistant message with tool calls must be followed by a tool message for each of them: "
                f"there is none for '{call_id[:80]}'.",
                param=where,
            )

    # Roles

    def developer(self, message: Mapping[str, Any], where: str) -> None:
        self._input("developer", message, where)

    def user(self, message: Mapping[str, Any], where: str) -> None:
        self._input("user", message, where)

    def _input(self, role: str, message: Mapping[str, Any], where: str) -> None:
        content = message.get("content")
        if content is None:
            raise missing(f"{where}.content")
        table = self._present_parts if self._past is None else self._past_parts
        parts = to_content(content, f"{where}.content", "input_text", table, self._past)
        self.items.append({"type": "message", "role": role, "content": parts})

    def assistant(self, message: Mapping[str, Any], where: str) -> None:
        calls = message.get("tool_calls")
        legacy = message.get("function_call")
        content = message.get("content")
        if content is None:
            # What a client echoes back of a refusal: no content, the sentence beside it.
            content = message.get("refusal") or ""
            if not isinstance(content, str):
                raise invalid_type(f"{where}.refusal", "a string", content)
        if content or not (calls or legacy):
            at = f"{where}.content"
            parts = to_content(content, at, "output_text", OUTPUT_PARTS, self._past)
            self.items.append({"type": "message", "role": "assistant", "content": parts})
        if calls is not None and not isinstance(calls, list):
            raise invalid_type(f"{where}.tool_calls", "an array of tool calls", calls)
        for index, call in enumerate(calls or ()):
            self._call(call, f"{where}.tool_calls[{index}]")
        if legacy and not calls:
            self._function_call(legacy, _legacy_id(len(self.items)), f"{where}.function_call")

    def _call(self, call: Any, where: str) -> None:
        if not isinstance(call, dict):
            raise invalid_type(where, "an object", call)
        kind = call.get("type")
        if kind not in (None, "function"):
            raise invalid_value(f"{where}.type", kind, ("function",))
        call_id = required_string(call, "id", where)
        function = call.get("function")
        if function is None:
            raise missing(f"{where}.function")
        self._function_call(function, call_id, f"{where}.function")

    def _function_call(self, function: Any, call_id: str, where: str) -> None:
        if not isinstance(function, dict):
            raise invalid_type(where, "an object", function)
        # Any name: the model may have made one up, and the client gives back what it was given.
        name = alias_of(required_string(function, "name", where))
        arguments = checked_length(
            required_string(function, "arguments", where), f"{where}.arguments"
        )
        upstream_id = self._call_ids.next(call_id)
        self.items.append(
            {
                "type": "function_call",
                "name": name,
                "arguments": arguments,
                "call_id": upstream_id,
            }
        )
        self._open.setdefault(call_id, deque()).append((upstream_id, where.rpartition(".")[0]))

    def tool(self, message: Mapping[str, Any], where: str) -> None:
        self._result(
            message, required_string(message, "tool_call_id", where), f"{where}.tool_call_id"
        )

    def function(self, message: Mapping[str, Any], where: str) -> None:
        # The legacy form has no ids: the result belongs to the one call before it.
        self._result(message, next(iter(self._open), ""), f"{where}.role")

    def _result(self, message: Mapping[str, Any], call_id: str, where: str) -> None:
        waiting = self._open.get(call_id)
        if not waiting:
            raise InvalidRequest(
                "A tool result must answer a call of the assistant message before it; "
                "there is no such call.",
                param=where,
            )
        content = message.get("content")
        at = where.rpartition(".")[0] + ".content"
        # A function that returned nothing: clients say so in all of these ways.
        output = to_text(content, at, self._past) if content not in (None, []) else ""
        upstream_id, _ = waiting.popleft()  # results of one id come in the order of its calls
        if not waiting:
            del self._open[call_id]
        self.items.append(
            {"type": "function_call_output", "call_id": upstream_id, "output": output}
        )


ROLES: Mapping[str, Callable[[_Conversation, Mapping[str, Any], str], None]] = MappingProxyType(
    {
        "system": _Conversation.developer,
        "developer": _Conversation.developer,
        "user": _Conversation.user,
        "assistant": _Conversation.assistant,
        "tool": _Conversation.tool,
        "function": _Conversation.function,
    }
)


def _legacy_id(position: int) -> str:
    return f"call_legacy_{position}"
