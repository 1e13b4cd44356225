"""Reader of `tools`: chat's function tools, each in a wrapper of its own. Pure."""

from __future__ import annotations

from typing import Any

from app.answers.field_errors import invalid_type, invalid_value, missing
from app.answers.tools import Tool, check_amount, check_distinct, parse_function


def parse_tools(given: Any) -> tuple[Tool, ...]:
    """Read `tools`. Raises `InvalidRequest`, which names the field."""
    if not isinstance(given, list):
        raise invalid_type("tools", "an array of tools", given)
    check_amount(
        [entry.get("function") if isinstance(entry, dict) else None for entry in given], "tools"
    )
    tools = tuple(_parse_tool(entry, f"tools[{index}]") for index, entry in enumerate(given))
    check_distinct(tools, "tools[{}].function.name")
    return tools


def _parse_tool(entry: Any, where: str) -> Tool:
    if not isinstance(entry, dict):
        raise invalid_type(where, "an object", entry)
    kind = entry.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    if kind != "function":
        raise invalid_value(f"{where}.type", kind, ("function",))
    function = entry.get("function")
    if function is None:
        raise missing(f"{where}.function")
    return parse_function(function, f"{where}.function")
