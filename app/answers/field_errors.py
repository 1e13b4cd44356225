"""The sentences for a field that is wrong, in OpenAI's words and with OpenAI's codes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from app.errors import InvalidRequest

_JSON_NAMES: Mapping[type, str] = MappingProxyType(
    {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
        type(None): "null",
    }
)


_SHOWN = 60
"""Characters of a wrong value that an error repeats."""


def invalid_type(where: str, expected: str, value: Any) -> InvalidRequest:
    """Return the error for a value of the wrong JSON type, in OpenAI's words."""
    got = _JSON_NAMES.get(type(value), "something else")
    return InvalidRequest(
        f"Invalid type for '{where}': expected {expected}, but got {got} instead.",
        param=where,
        code="invalid_type",
    )


def invalid_value(where: str, value: Any, supported: Iterable[str]) -> InvalidRequest:
    """Return the error for a value that is none of the supported ones."""
    names = ", ".join(f"'{name}'" for name in supported)
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "..."
    return InvalidRequest(f"Invalid value: {shown}. Supported values are: {names}.", param=where)


def missing(where: str) -> InvalidRequest:
    """Return the error for a required field that is absent or null."""
    return InvalidRequest(
        f"Missing required parameter: '{where}'.", param=where, code="missing_required_parameter"
    )


def unsupported(where: str) -> InvalidRequest:
    """Return the error for a parameter that this gateway does not serve."""
    return InvalidRequest(
        f"Unsupported parameter: '{where}' is not supported by this gateway.",
        param=where,
        code="unsupported_parameter",
    )


_MAX_LEVELS = 64  # of JSON; a property takes two, its name and its schema
_MAX_NODES = 5_000


def check_size(schema: Any, where: str, code: str) -> None:
    """Refuse a schema that nobody needs and that would hold up this worker. Linear, without recursion."""
    level, nodes = [schema], 0
    for _ in range(_MAX_LEVELS):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, Mapping) else node)
            if isinstance(child, Mapping | list)
        ]
        nodes += len(level)
        if not level:
            return
        if nodes > _MAX_NODES:
            break
    raise InvalidRequest(
        f"Invalid '{where}': the schema is too large or nested too deeply.", param=where, code=code
    )
