"""Chat messages to the input items that codex injects. Pure.

Order and text are kept exactly. `system` becomes `developer`, because codex drops an injected `system` item silently
(protocol notes, section 4). Every refusal names the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from app.answers.field_errors import (
    checked_length,
    invalid_type,
    invalid_value,
    missing,
    required_string,
)
from app.api.content import CHAT_PARTS, ImageFields, Past, PixelCount, to_content, to_text
from app.api.conversation import Conversation
from app.api.tools import arguments_of
from app.backend.request import Item
from app.errors import InvalidRequest

_SAID = CHAT_PARTS.output()


def to_items(
    messages: Sequence[Any],
    image_fields: ImageFields | None = None,
    past: Past | None = None,
    count: PixelCount | None = None,
) -> tuple[Item, ...]:
    """Return the input items; remote images after the last answer are noted in `image_fields`, others in `past`.

    `count` is of the images that are not remote. Raises `InvalidRequest`. Linear, a few µs a message.
    """
    reader = _Messages(
        {} if image_fields is None else image_fields, past or Past(), count or PixelCount()
    )
    answered = _count_answered(messages)
    for index, message in enumerate(messages):
        reader.add(message, f"messages[{index}]", is_past=index < answered)
    reader.check_answered()
    return tuple(reader.conversation.items)


def _count_answered(messages: Sequence[Any]) -> int:
    """Return how many messages there are up to the model's last answer; what follows is what it is asked now."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if isinstance(message, dict) and message.get("role") == "assistant":
            return index + 1
    return 0


class _Messages:
    """Reader of messages, one after the other, into a conversation."""

    def __init__(self, image_fields: ImageFields, past: Past, count: PixelCount) -> None:
        self.conversation = Conversation()
        self._present_parts = CHAT_PARTS.input(image_fields, count)
        self._past_parts = CHAT_PARTS.input(past.images, count)
        self._all_past = past
        self._past: Past | None = None
        """Set while a message is read that the model has answered already."""

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
        if waiting := self.conversation.first_open:
            raise InvalidRequest(
                f"An assistant message with tool calls must be followed by a tool message for each of them: "
                f"there is none for '{waiting.call_id[:80]}'.",
                param=waiting.where,
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
        self.conversation.say(role, parts)

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
            parts = to_content(content, at, "output_text", _SAID, self._past)
            self.conversation.say("assistant", parts)
        if calls is not None and not isinstance(calls, list):
            raise invalid_type(f"{where}.tool_calls", "an array of tool calls", calls)
        for index, call in enumerate(calls or ()):
            self._call(call, f"{where}.tool_calls[{index}]")
        if legacy and not calls:
            legacy_id = _legacy_id(len(self.conversation.items))
            self._function_call(legacy, legacy_id, f"{where}.function_call")

    def _call(self, call: Any, where: str) -> None:
        if not isinstance(call, dict):
            raise invalid_type(where, "an object", call)
        kind = call.get("type")
        if kind not in (None, "function", "custom"):
            raise invalid_value(f"{where}.type", kind, ("function", "custom"))
        call_id = required_string(call, "id", where)
        if kind == "custom":
            self._custom_call(call.get("custom"), call_id, f"{where}.custom")
            return
        function = call.get("function")
        if function is None:
            raise missing(f"{where}.function")
        self._function_call(function, call_id, f"{where}.function")

    def _custom_call(self, custom: Any, call_id: str, where: str) -> None:
        if custom is None:
            raise missing(where)
        if not isinstance(custom, dict):
            raise invalid_type(where, "an object", custom)
        name, text = (required_string(custom, member, where) for member in ("name", "input"))
        arguments = arguments_of(checked_length(text, f"{where}.input"))
        self.conversation.call(name, arguments, call_id, where.rpartition(".")[0])

    def _function_call(self, function: Any, call_id: str, where: str) -> None:
        if not isinstance(function, dict):
            raise invalid_type(where, "an object", function)
        name = required_string(function, "name", where)
        arguments = required_string(function, "arguments", where)
        checked_length(arguments, f"{where}.arguments")
        self.conversation.call(name, arguments, call_id, where.rpartition(".")[0])

    def tool(self, message: Mapping[str, Any], where: str) -> None:
        self._result(
            message, required_string(message, "tool_call_id", where), f"{where}.tool_call_id"
        )

    def function(self, message: Mapping[str, Any], where: str) -> None:
        # The legacy form has no ids: the result belongs to the one call before it.
        waiting = self.conversation.first_open
        self._result(message, waiting.call_id if waiting else "", f"{where}.role")

    def _result(self, message: Mapping[str, Any], call_id: str, where: str) -> None:
        upstream_id = self.conversation.answer(call_id)
        if upstream_id is None:
            raise InvalidRequest(
                "A tool result must answer a call of the assistant message before it; "
                "there is no such call.",
                param=where,
            )
        content = message.get("content")
        at = where.rpartition(".")[0] + ".content"
        # A function that returned nothing: clients say so in all of these ways.
        output = to_text(content, at, self._past) if content not in (None, []) else ""
        self.conversation.result(upstream_id, output)


ROLES: Mapping[str, Callable[[_Messages, Mapping[str, Any], str], None]] = MappingProxyType(
    {
        "system": _Messages.developer,
        "developer": _Messages.developer,
        "user": _Messages.user,
        "assistant": _Messages.assistant,
        "tool": _Messages.tool,
        "function": _Messages.function,
    }
)


def _legacy_id(position: int) -> str:
    return f"call_legacy_{position}"
