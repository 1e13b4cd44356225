"""Reader of `tools`: chat's function tools, each in a wrapper of its own. Pure."""

from __future__ import annotations

from typing import Any

from app.answers.field_errors import invalid_type, invalid_value, missing
from app.answers.tools import Tool, check_distinct, parse_function
from app.errors import InvalidRequest

MAX_TOOLS = 128
"""As many as OpenAI takes in one request."""


def parse_tools(given: Any) -> tuple[Tool, ...]:
    """Read `tools`. Raises `InvalidRequest`, which names the field."""
    if not isinstance(given, list):
        raise invalid_type("tools", "an array of tools", given)
    if len(given) > MAX_TOOLS:
        raise InvalidRequest(
            f"Invalid 'tools': array too long. Expected at most {MAX_TOOLS} tools.",
            param="tools",
            code="array_above_max_length",
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
