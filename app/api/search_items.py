"""Items about searches that somebody else has done, in the shape in which codex passes them upstream. Pure.

codex refuses a whole conversation for a member of the wrong type, without a word on which, and cannot read a line that
is nested too deeply: then it answers nothing at all. So what goes on is what is known, and no deeper than it may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.answers.field_errors import invalid_type
from app.backend.request import Item
from app.errors import InvalidRequest

_MAX_LEVELS = 64
"""Of JSON, as for schemas; codex reads 128, with those around an item."""


def web_search(item: Mapping[str, Any], where: str) -> Item:
    """Return a search of the web. Raises `InvalidRequest`, which names the field."""
    found = {"type": item["type"], **_text(item, "status", where)}
    action = item.get("action")
    if action is None:
        return found
    if not isinstance(action, dict):
        raise invalid_type(f"{where}.action", "an object", action)
    return {**found, "action": _checked_depth(action, f"{where}.action")}


def tool_search(item: Mapping[str, Any], call_id: str | None, where: str) -> Item:
    """Return a search for tools, or what it has found; `call_id` is the one that goes upstream."""
    found = {"type": item["type"], "call_id": call_id, **_text(item, "status", where)}
    by = _text(item, "execution", where) or {"execution": "server" if call_id is None else "client"}
    name = "tools" if item["type"] == "tool_search_output" else "arguments"
    content = item.get(name)
    if content is None:
        content = [] if name == "tools" else {}
    return {**found, **by, name: _checked_depth(content, f"{where}.{name}")}


def _text(item: Mapping[str, Any], name: str, where: str) -> dict[str, str]:
    value = item.get(name)
    if value is None:
        return {}
    if not isinstance(value, str):
        raise invalid_type(f"{where}.{name}", "a string", value)
    return {name: value}


def _checked_depth(value: Any, where: str) -> Any:
    """Return the value. Linear, without recursion."""
    level = [value]
    for _ in range(_MAX_LEVELS):
        nodes = [node for node in level if isinstance(node, dict | list)]
        if not nodes:
            return value
        level = [
            child for node in nodes for child in (node.values() if isinstance(node, dict) else node)
        ]
    raise InvalidRequest(f"Invalid '{where}': it is nested too deeply.", param=where)
