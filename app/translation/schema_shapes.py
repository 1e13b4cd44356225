"""What JSON Schema asks of the values of its keywords, as far as codex reads them. Pure.

codex refuses a tool whose schema it cannot read, but does not say where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

_LONGEST_NAME = 64

Place = tuple[str, Any]
"""A schema within a schema, and where it stands."""


def misshapen(schema: Any, where: str) -> tuple[str, str] | None:
    """Return where the first value stands that no schema may have, and what would do; None if there is none.

    Recursive: for schemas of a checked size.
    """
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, Mapping):
        return where, "a schema (an object)"
    for keyword, (is_right, expected) in _SHAPES.items():
        value = schema.get(keyword)
        if value is not None and not is_right(value):
            return f"{where}.{keyword}", expected
    found = (misshapen(entry, place) for place, entry in _below(schema, where))
    return next(filter(None, found), None)


def _is_schema(value: Any) -> bool:
    return isinstance(value, bool | Mapping)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


_SHAPES: Mapping[str, tuple[Callable[[Any], bool], str]] = MappingProxyType(
    {
        "properties": (_is_object, "an object"),
        "$defs": (_is_object, "an object"),
        "items": (_is_schema, "a schema (an object)"),
        "additionalProperties": (_is_schema, "a boolean or a schema (an object)"),
        "anyOf": (_is_list, "an array of schemas"),
        "oneOf": (_is_list, "an array of schemas"),
        "allOf": (_is_list, "an array of schemas"),
        "enum": (_is_list, "an array"),
        "required": (_is_names, "an array of names"),
        "description": (_is_text, "a string"),
        "$ref": (_is_text, "a string"),
        "minItems": (_is_count, "an integer, 0 or more"),
    }
)


def _below(schema: Mapping[str, Any], where: str) -> Iterator[Place]:
    for group in ("properties", "$defs"):
        for name, entry in (schema.get(group) or {}).items():
            yield f"{where}.{group}.{name[:_LONGEST_NAME]}", entry
    for group in ("anyOf", "oneOf", "allOf"):
        for index, entry in enumerate(schema.get(group) or ()):
            yield f"{where}.{group}[{index}]", entry
    for member in ("items", "additionalProperties"):
        if schema.get(member) is not None:
            yield f"{where}.{member}", schema[member]
