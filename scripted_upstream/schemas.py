"""Validation of a JSON schema as OpenAI does it before the schema is used. Pure.

Every function's parameters must be an object schema; under `strict: true` every object must be closed and must require
all its properties, at any depth, every schema has a type, and nothing stands beside a reference. `default` and
`examples` are refused as some deployments (Azure's) refuse them, and so is what nobody knows: what passes here passes
everywhere.
"""

from collections.abc import Iterator
from typing import Any

_NESTED_MAPS = ("properties", "$defs", "definitions")
_AT_THE_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")
_PERMITTED = {
    *("type", "title", "description", "enum", "const", "anyOf", "$ref", "$defs", "definitions"),
    *("properties", "required", "additionalProperties", "items", "minItems", "maxItems"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("pattern", "format", "minLength", "maxLength", "$schema"),
}
_FORMATS = (
    *("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"),
)
_MOST_ENUM_VALUES = 1000
_MOST_LEVELS = 10


def complaint(schema: Any, *, strict: bool) -> str | None:
    """Return what OpenAI would say against a schema, without its opening words, or None."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind != "object":
        shown = f'"{kind}"' if isinstance(kind, str) else f'"{None}"'
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {shown}'."
    if "properties" not in schema and not strict:
        return "In context=(), object schema missing properties."
    complaints = _strict_root(schema) if strict else _loose(schema, ())
    return next(complaints, None)


def _strict_root(schema: dict[str, Any]) -> Iterator[str]:
    for name in _AT_THE_TOP:
        if name in schema:
            yield (
                "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level. "
                f"Found '{name}'."
            )
    yield from _strict(schema, (), schema)
    found = list(_all(schema, ()))
    values = sum(len(entry.get("enum", ())) for entry, _ in found)
    if values > _MOST_ENUM_VALUES:
        yield (
            f"Expected at most {_MOST_ENUM_VALUES} enum values in total within a single schema when using structured "
            f"outputs, but received {values}."
        )
    if max(place.count("properties") for _, place in found) > _MOST_LEVELS:
        yield f"Expected at most {_MOST_LEVELS} levels of nesting."


def _strict(schema: dict[str, Any], where: tuple[str, ...], root: dict[str, Any]) -> Iterator[str]:
    for name in schema:
        if name not in _PERMITTED:
            yield f"In context={where!r}, '{name}' is not permitted."
    if "$ref" in schema:
        yield from _reference(schema, where, root)
    elif "type" not in schema and "anyOf" not in schema:
        yield f"In context={where!r}, schema must have a 'type' key."
    if schema.get("format", _FORMATS[0]) not in _FORMATS:
        yield f"In context={where!r}, '{schema['format']}' is not a valid format."
    if _is_object(schema):
        yield from _open(schema, where)
    yield from _itemless(schema, where)
    yield from _no_schema(schema, where)
    for child, place in _children(schema, where):
        yield from _strict(child, place, root)


def _reference(
    schema: dict[str, Any], where: tuple[str, ...], root: dict[str, Any]
) -> Iterator[str]:
    beside = set(schema) - {"$ref"}
    if beside:
        yield f"context={where!r}, $ref cannot have keywords {beside!r}."
    tops = {f"#/{group}/{name}" for group in _NESTED_MAPS[1:] for name in root.get(group, {})}
    if schema["$ref"] not in {"#", *tops}:
        yield (
            f"In context={where!r}, reference can only point to definitions defined at the top level of the schema."
        )


def _no_schema(schema: dict[str, Any], where: tuple[str, ...]) -> Iterator[str]:
    children = [
        *(child for name in _NESTED_MAPS for child in _mapping(schema.get(name)).values()),
        *(schema.get("anyOf") or ()),
        schema.get("items", {}),
    ]
    for child in children:
        if not isinstance(child, dict):
            yield f"In context={where!r}, {child!r} is not of type 'object'."


def _all(
    schema: dict[str, Any], where: tuple[str, ...]
) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    yield schema, where
    for child, place in _children(schema, where):
        yield from _all(child, place)


def _loose(schema: dict[str, Any], where: tuple[str, ...]) -> Iterator[str]:
    yield from _itemless(schema, where)
    for child, place in _children(schema, where):
        yield from _loose(child, place)


def _is_kind(schema: dict[str, Any], name: str) -> bool:
    kind = schema.get("type")
    return name in (kind if isinstance(kind, list) else [kind])


def _is_object(schema: dict[str, Any]) -> bool:
    return _is_kind(schema, "object") or "properties" in schema


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
    if _is_kind(schema, "array") and "items" not in schema and "prefixItems" not in schema:
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
