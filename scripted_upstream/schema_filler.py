"""Simplest values for JSON schemas: defaults, first options, the smallest numbers, names in place of texts. Pure.

Only what is required is filled. `pattern`, `not` and `if` are not looked at.
"""

import math
from typing import Any

_DEEP = 6
"""Levels after which null is taken where it is allowed: a schema may contain itself."""
_TOO_DEEP = 24
_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "uuid": f"{0:08}-0000-4000-8000-{0:012}",
    "ipv4": "192.0.2.1",
}
_EDGES = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


def fill(schema: dict[str, Any]) -> Any:
    """Return the simplest instance of the schema; of one that cannot be fulfilled, something."""
    return _Form(schema).value(schema, "text", 0)


class _Form:
    """The schema being filled; references are looked up in its root."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root

    def value(self, given: Any, name: str, depth: int) -> Any:
        schema = self._resolved(given)
        variants = schema.get("anyOf") or schema.get("oneOf")
        if variants and depth < _TOO_DEEP:
            rest = {key: schema[key] for key in schema if key not in ("anyOf", "oneOf")}
            return self.value({**rest, **self._variant(variants, depth)}, name, depth + 1)
        for keyword in ("const", "default"):
            if keyword in schema:
                return schema[keyword]
        if schema.get("enum"):
            return schema["enum"][0]
        return self._of_kind(schema, name, depth)

    def _of_kind(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return _text(schema, name)
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return False
        return None

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        members = schema.get("properties", {})
        names = schema.get("required", ()) if depth < _TOO_DEEP else ()
        return {name: self.value(members.get(name), name, depth + 1) for name in names}

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        entries = schema.get("prefixItems") or [schema.get("items")] * int(
            schema.get("minItems", 0)
        )
        return [self.value(entry, name, depth + 1) for entry in entries if depth < _TOO_DEEP]

    def _variant(self, variants: list[Any], depth: int) -> dict[str, Any]:
        """The first variant that holds something; null, if that is allowed, below `_DEEP`."""
        resolved = [self._resolved(variant) for variant in variants]
        nulls = [variant for variant in resolved if variant.get("type") == "null"]
        others = [variant for variant in resolved if variant.get("type") != "null"]
        return (nulls or others if depth > _DEEP else others or nulls)[0]

    def _resolved(self, given: Any) -> dict[str, Any]:
        """Follow references and join `allOf`; what stands beside them wins."""
        schema = given if isinstance(given, dict) else {}
        for _ in range(_TOO_DEEP):
            joined = list(schema.get("allOf") or ())
            if "$ref" in schema:
                joined.append(self._referred(schema["$ref"]))
            if not joined:
                break
            own = {key: schema[key] for key in schema if key not in ("$ref", "allOf")}
            schema = _joined([*joined, own])
        return schema

    def _referred(self, pointer: Any) -> dict[str, Any]:
        found: Any = self._root
        for part in str(pointer).lstrip("#/").split("/") if pointer != "#" else ():
            found = found.get(part) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}


def _kind(schema: dict[str, Any]) -> str:
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kinds, list):
        return next((str(kind) for kind in kinds if kind != "null"), "null")
    return str(kinds)


def _joined(schemas: list[Any]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for schema in (schema for schema in schemas if isinstance(schema, dict)):
        members = {**joined.get("properties", {}), **schema.get("properties", {})}
        required = [*joined.get("required", ()), *schema.get("required", ())]
        joined |= schema
        joined |= {"properties": members} if members else {}
        joined |= {"required": required} if required else {}
    return joined


def _text(schema: dict[str, Any], name: str) -> str:
    known = _FORMATS.get(schema.get("format", ""))
    if known is not None:
        return known
    padded = name.ljust(int(schema.get("minLength", 0)), ".")
    return padded[: int(schema.get("maxLength", len(padded)))]


def _number(schema: dict[str, Any]) -> float:
    step = schema.get("multipleOf") or 1
    edges = [schema[edge] for edge in _EDGES if edge in schema]
    near = [math.ceil(edge / step) * step + move * step for edge in edges for move in (0, 1, -1)]
    middle = [sum(edges) / len(edges)] if edges else []
    return next((number for number in (0, *near, *middle) if _fits(schema, number)), 0)


def _fits(schema: dict[str, Any], value: float) -> bool:
    step = schema.get("multipleOf") or (1 if schema.get("type") == "integer" else 0)
    return (
        schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < value
        and value < schema.get("exclusiveMaximum", math.inf)
        and (not step or math.isclose(value / step, round(value / step)))
    )
