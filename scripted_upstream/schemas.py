"""Validation of a JSON schema as OpenAI does it before the schema is used. Pure.

Every function's parameters must be an object schema; under `strict: true` every object must be
closed and must require all its properties, at any depth.
"""

from collections.abc import Iterator
from typing import Any

_NESTED_MAPS = ("properties", "$defs", "definitions")
_NOT_PERMITTED = ("oneOf", "allOf", "not", "if", "then", "else", "patternProperties")


def complaint(schema: Any, *, strict: bool) -> str | None:
    """Return what OpenAI would say against a schema, without its opening words, or None."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind != "object":
        shown = f'"{kind}"' if isinstance(kind, str) else f'"{None}"'
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {shown}'."
    if "properties" not in schema and not strict:
        return "In context=(), object schema missing properties."
    complaints = _strict(schema, ()) if strict else _loose(schema, ())
    return next(complaints, None)


def _strict(schema: dict[str, Any], where: tuple[str, ...]) -> Iterator[str]:
    for name in _NOT_PERMITTED:
        if name in schema:
            yield f"In context={where!r}, '{name}' is not permitted."
    if _is_object(schema):
        yield from _open(schema, where)
    yield from _itemless(schema, where)
    for child, place in _children(schema, where):
        yield from _strict(child, place)


def _loose(schema: dict[str, Any], where: tuple[str, ...]) -> Iterator[str]:
    yield from _itemless(schema, where)
    for child, place in _children(schema, where):
        yield from _loose(child, place)


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return "object" in kinds or "properties" in schema


def _open(schema: dict[str, Any], where: tuple[str, ...]) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        yield (
            f"In context={where!r}, 'additionalProperties' is required to be supplied "
            "and to be false."
        )
    required = schema.get("required")
    listed = required if isinstance(required, list) else []
    names = _mapping(schema.get("properties"))
    missing = [name for name in names if name not in listed]
    extra = [name for name in listed if name not in names]
    if missing:
        yield (
            f"In context={where!r}, 'required' is required to be supplied and to be an array "
            f"including every key in properties. Missing '{missing[0]}'."
        )
    if extra:
        yield f"In context={where!r}, 'required' holds an unknown key. Extra '{extra[0]}'."


def _itemless(schema: dict[str, Any], where: tuple[str, ...]) -> Iterator[str]:
    if schema.get("type") == "array" and "items" not in schema and "prefixItems" not in schema:
        yield f"In context={where!r}, array schema missing items."


def _children(
    schema: dict[str, Any], where: tuple[str, ...]
) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    for name in _NESTED_MAPS:
        for key, child in _mapping(schema.get(name)).items():
            if isinstance(child, dict):
                yield child, (*where, name, key)
    if isinstance(schema.get("items"), dict):
        yield schema["items"], (*where, "items")
    choices = schema.get("anyOf")
    for place, child in enumerate(choices if isinstance(choices, list) else []):
        if isinstance(child, dict):
            yield child, (*where, "anyOf", str(place))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
