"""Chat messages to the input items that codex injects. Pure.

Order and text are kept exactly. `system` becomes `developer`, because codex drops an injected `system` item silently
(protocol notes, section 4). Every refusal names the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from app.errors import InvalidRequest
from app.translation.invalid import invalid_type, invalid_value, missing, unsupported

Item = dict[str, Any]


def to_items(messages: Sequence[Any]) -> tuple[Item, ...]:
    """Return one input item for each message. Raises `InvalidRequest`. Linear, a few µs a message."""
    return tuple(_to_item(message, f"messages[{index}]") for index, message in enumerate(messages))


def _to_item(message: Any, where: str) -> Item:
    if not isinstance(message, dict):
        raise invalid_type(where, "an object", message)
    role = message.get("role")
    if role is None:
        raise missing(f"{where}.role")
    convert = ROLES.get(role) if isinstance(role, str) else None
    if convert is None:
        raise invalid_value(f"{where}.role", role, ROLES)
    return convert(message, where)


def _input(role: str) -> Callable[[Mapping[str, Any], str], Item]:
    def convert(message: Mapping[str, Any], where: str) -> Item:
        content = message.get("content")
        if content is None:
            raise missing(f"{where}.content")
        return {
            "type": "message",
            "role": role,
            "content": _parts(content, f"{where}.content", "input_text", _INPUT_PARTS),
        }

    return convert


def _assistant(message: Mapping[str, Any], where: str) -> Item:
    for name in ("tool_calls", "function_call"):
        if message.get(name):
            raise unsupported(f"{where}.{name}")
    content = message.get("content")
    if content is None:
        # What a client echoes back of a refusal: no content, the sentence beside it.
        content = message.get("refusal") or ""
        if not isinstance(content, str):
            raise invalid_type(f"{where}.refusal", "a string", content)
    return {
        "type": "message",
        "role": "assistant",
        "content": _parts(content, f"{where}.content", "output_text", _OUTPUT_PARTS),
    }


ROLES: Mapping[str, Callable[[Mapping[str, Any], str], Item]] = MappingProxyType(
    {
        "system": _input("developer"),
        "developer": _input("developer"),
        "user": _input("user"),
        "assistant": _assistant,
    }
)

_INPUT_PARTS: Mapping[str, str] = MappingProxyType({"text": "text"})
_OUTPUT_PARTS: Mapping[str, str] = MappingProxyType({"text": "text", "refusal": "refusal"})
"""Part type to the member that holds its text."""


def _parts(content: Any, where: str, kind: str, allowed: Mapping[str, str]) -> list[Item]:
    if isinstance(content, str):
        return [{"type": kind, "text": content}]
    if not isinstance(content, list):
        raise invalid_type(where, "a string or an array of content parts", content)
    if not content:
        raise InvalidRequest(
            f"Invalid '{where}': empty array. Expected at least one content part.",
            param=where,
            code="empty_array",
        )
    return [
        {"type": kind, "text": _part_text(part, f"{where}[{index}]", allowed)}
        for index, part in enumerate(content)
    ]


def _part_text(part: Any, where: str, allowed: Mapping[str, str]) -> str:
    if not isinstance(part, dict):
        raise invalid_type(where, "an object", part)
    kind = part.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    member = allowed.get(kind) if isinstance(kind, str) else None
    if member is None:
        raise invalid_value(f"{where}.type", kind, allowed)
    text = part.get(member)
    if text is None:
        raise missing(f"{where}.{member}")
    if not isinstance(text, str):
        raise invalid_type(f"{where}.{member}", "a string", text)
    return text
