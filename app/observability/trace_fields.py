"""What a trace keeps of the objects that hold a turn's words: counts, and names from closed sets. Pure.

A list of what may stay, never of what must go: a field that is not named here is not in a trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from app.backend.events import TurnFailure

_ITEM_KINDS = frozenset(
    {
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "local_shell_call",
        "web_search_call",
    }
)
_ROLES = frozenset({"user", "assistant", "developer", "system"})
_OPTIONS = ("effort", "summary", "serviceTier")
_MAX_NAME = 40


def describe_item(item: Any) -> str:
    """Return the type of an item, a message's with its role; `other` for what the upstream made up."""
    if not isinstance(item, Mapping):
        return "other"
    kind, role = str(item.get("type")), str(item.get("role"))
    if kind == "message" and role in _ROLES:
        return f"message {role}"
    return kind if kind in _ITEM_KINDS else "other"


def describe_failure(failure: TurnFailure) -> dict[str, Any]:
    """Return codex's reason without its sentence, which can quote anything."""
    kind = failure.kind
    is_name = kind.isascii() and kind.isalpha() and len(kind) <= _MAX_NAME
    return {"kind": kind if is_name else "other", "http_status": failure.http_status}


def describe_call(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of the parameters of a call of ours; of most, nothing."""
    describe = _DESCRIBED.get(method)
    return describe(params) if describe else {}


def _thread(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": params.get("model"), "tools": len(params.get("dynamicTools") or ())}


def _items(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"items": dict(Counter(map(describe_item, params.get("items") or ())))}


def _turn(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "options": {name: params[name] for name in _OPTIONS if name in params},
        "has_schema": "outputSchema" in params,
    }


_DESCRIBED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = MappingProxyType(
    {"thread/start": _thread, "thread/inject_items": _items, "turn/start": _turn}
)
"""A model of codex's list, options that the endpoints' schemas have checked, and counts."""
