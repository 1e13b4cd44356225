"""Errors for a field that is wrong, in OpenAI's words and with OpenAI's codes, and the commonest check. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
    return InvalidRequest(
        f"Invalid value: {shown(value)}. Supported values are: {names}.", param=where
    )


def shown(value: Any) -> str:
    """Return a wrong value as Python writes it, or its beginning; no more than that of a long one is looked at."""
    written = ""
    for part in _written(value):
        written += part
        if len(written) > _SHOWN:
            return f"{written[:_SHOWN]}..."
    return written


def _written(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield repr(value[: _SHOWN + 1])
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield ", " if number else "["
            yield from _written(entry)
        yield "]" if value else "[]"
    elif isinstance(value, dict):
        for number, (name, member) in enumerate(value.items()):
            yield ", " if number else "{"
            yield from _written(name)
            yield ": "
            yield from _written(member)
        yield "}" if value else "{}"
    else:
        yield repr(value)


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


LONGEST_TEXT = 10_485_760
"""Characters of one text in a request, as at OpenAI: more than any model reads. codex parses a text in one go."""


def checked_length(text: str, where: str) -> str:
    """Return a text of the request. Raises `InvalidRequest` if it is longer than any may be."""
    if len(text) > LONGEST_TEXT:
        raise InvalidRequest(
            f"Invalid '{where}': string too long. Expected a string with maximum length {LONGEST_TEXT}, "
            f"but got a string with length {len(text)} instead.",
            param=where,
            code="string_above_max_length",
        )
    return text


def required_string(source: Mapping[str, Any], name: str, where: str) -> str:
    """Return a member of the object at `where` in the request. Raises `InvalidRequest` unless it is a string."""
    value = source.get(name)
    if value is None:
        raise missing(f"{where}.{name}")
    if not isinstance(value, str):
        raise invalid_type(f"{where}.{name}", "a string", value)
    return value
