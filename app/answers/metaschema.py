"""What JSON Schema (2020-12) asks of the values of its keywords: its metaschema, as one walk. Pure.

codex refuses a tool whose schema it cannot read, but does not say where it stopped. And a validator that is given the
metaschema itself takes half a millisecond for each property, in which the whole worker would stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

_LONGEST_NAME = 64

Shape = tuple[Callable[[Any], bool], str]
"""Whether a value may stand behind a keyword, and what may, in words."""


def first_violation(
    schema: Any, where: str, shapes: Mapping[str, Shape], *, null_is_absent: bool = False
) -> tuple[str, str] | None:
    """Return where the first value stands that no schema may have, and what would do; None if there is none.

    `shapes` has the keywords that are looked at. Recursive: for schemas of a checked size.
    """
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, Mapping):
        return where, "a schema (an object)"
    for keyword, value in schema.items():
        shape = shapes.get(keyword)
        if shape is None or (value is None and null_is_absent):
            continue
        if not shape[0](value):
            return f"{where}.{keyword}", shape[1]
    for place, entry in _below(schema, where, shapes):
        found = first_violation(entry, place, shapes, null_is_absent=null_is_absent)
        if found is not None:
            return found
    return None


def _below(
    schema: Mapping[str, Any], where: str, shapes: Mapping[str, Shape]
) -> Iterator[tuple[str, Any]]:
    for keyword, value in schema.items():
        shape = shapes.get(keyword)
        if value is None or shape is None:
            continue
        if shape is _SCHEMA:
            yield f"{where}.{keyword}", value
        elif shape in (_SCHEMAS, _SCHEMAS_IF_ANY):
            for index, entry in enumerate(value):
                yield f"{where}.{keyword}[{index}]", entry
        elif shape is _NAMED_SCHEMAS:
            for name, entry in value.items():
                yield f"{where}.{keyword}.{name[:_LONGEST_NAME]}", entry


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def _is_type(value: Any) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    return bool(value) and _is_names(value) and _TYPES.issuperset(value)


_SCHEMA: Shape = (lambda value: isinstance(value, bool | Mapping), "a schema (an object)")
_SCHEMAS: Shape = (
    lambda value: isinstance(value, list) and bool(value),
    "an array of schemas, not empty",
)
_SCHEMAS_IF_ANY: Shape = (lambda value: isinstance(value, list), "an array of schemas")
_NAMED_SCHEMAS: Shape = (lambda value: isinstance(value, Mapping), "an object")
_ARRAY: Shape = (lambda value: isinstance(value, list), "an array")
_BOOLEAN: Shape = (lambda value: isinstance(value, bool), "a boolean")
_COUNT: Shape = (_is_count, "an integer, 0 or more")
_NAMES: Shape = (_is_names, "an array of names, none of them twice")
_NAMES_IF_ANY: Shape = (
    lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "an array of names",
)
_NUMBER: Shape = (_is_number, "a number")
_POSITIVE: Shape = (lambda value: _is_number(value) and value > 0, "a number above 0")
_TEXT: Shape = (_is_text, "a string")
_TYPE: Shape = (_is_type, f"one or more of {', '.join(sorted(_TYPES))}")
_LISTS: Shape = (
    lambda value: isinstance(value, Mapping) and all(map(_is_names, value.values())),
    "an object of arrays of names",
)

READ_BY_CODEX: Mapping[str, Shape] = MappingProxyType(
    {
        **dict.fromkeys(("properties", "$defs"), _NAMED_SCHEMAS),
        **dict.fromkeys(("items", "additionalProperties"), _SCHEMA),
        **dict.fromkeys(("anyOf", "oneOf", "allOf"), _SCHEMAS_IF_ANY),
        "enum": _ARRAY,
        "required": _NAMES_IF_ANY,
        "description": _TEXT,
        "$ref": _TEXT,
        "minItems": _COUNT,
    }
)
"""Keywords whose value codex must understand to take a tool."""

ALL: Mapping[str, Shape] = MappingProxyType(
    {
        **READ_BY_CODEX,
        **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), _SCHEMAS),
        "required": _NAMES,
        **dict.fromkeys(("definitions", "patternProperties", "dependentSchemas"), _NAMED_SCHEMAS),
        **dict.fromkeys(
            (
                *("contains", "propertyNames", "not", "if", "then", "else"),
                *("unevaluatedItems", "unevaluatedProperties", "contentSchema"),
            ),
            _SCHEMA,
        ),
        **dict.fromkeys(
            (
                *("maxItems", "minLength", "maxLength", "minProperties", "maxProperties"),
                *("minContains", "maxContains"),
            ),
            _COUNT,
        ),
        **dict.fromkeys(
            ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
            _NUMBER,
        ),
        **dict.fromkeys(
            (
                *("pattern", "format", "title", "$comment", "$id", "$schema", "$anchor"),
                *("$dynamicRef", "$dynamicAnchor", "contentEncoding", "contentMediaType"),
            ),
            _TEXT,
        ),
        **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _BOOLEAN),
        "type": _TYPE,
        "multipleOf": _POSITIVE,
        "examples": _ARRAY,
        "dependentRequired": _LISTS,
    }
)
"""Every keyword of the vocabularies, as far as their values can be wrong."""
