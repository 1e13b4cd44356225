"""Strict schemas, as OpenAI means it: closed objects, every property required, known keywords. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST_NAME = 64

_KEYWORDS = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "anyOf",
        "$ref",
        "$defs",
        "definitions",
        "description",
        "title",
        "pattern",
        "format",
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minItems",
        "maxItems",
        "$schema",
        "$id",
    }
)


def why_not_strict(schema: Mapping[str, Any], where: str) -> str | None:
    """Return a sentence about the first place that keeps a schema from being strict, None if there is none.

    `where` is what the schema is called.
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        return f"'{where}' must be an object, and not one of several ('anyOf')."
    return _complaint(schema, where)


def _complaint(schema: Any, where: str) -> str | None:
    if not isinstance(schema, Mapping):
        return f"'{where}' must be an object that describes a type."
    unknown = sorted(set(schema) - _KEYWORDS)
    if unknown:
        return f"'{unknown[0][:_LONGEST_NAME]}' is not supported in '{where}'."
    if schema.get("type") == "object" or schema.get("properties"):
        complaint = _of_object(schema, where)
        if complaint is not None:
            return complaint
    found = (_complaint(entry, place) for place, entry in _below(schema, where))
    return next(filter(None, found), None)


def _of_object(schema: Mapping[str, Any], where: str) -> str | None:
    if schema.get("additionalProperties") is not False:
        return f"'additionalProperties' must be false in '{where}'."
    properties, required = set(schema.get("properties", {})), set(schema.get("required", ()))
    if properties == required:
        return None
    name = min(properties ^ required)
    said = "is missing from" if name in properties else "is no property, but in"
    return f"'{name[:_LONGEST_NAME]}' {said} 'required' in '{where}'; it must name all properties and no others."


def _below(schema: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    for name, entry in schema.get("properties", {}).items():
        yield f"{where}.properties.{name[:_LONGEST_NAME]}", entry
    for index, entry in enumerate(schema.get("anyOf", ())):
        yield f"{where}.anyOf[{index}]", entry
    for group in ("$defs", "definitions"):
        for name, entry in schema.get(group, {}).items():
            yield f"{where}.{group}.{name[:_LONGEST_NAME]}", entry
    if "items" in schema:
        yield f"{where}.items", schema["items"]
