"""Simplest values for JSON schemas: defaults, first options, the smallest numbers, names in place of texts. Pure.

Only what is required is filled; of a schema that does not say what is, everything. An array gets one entry, so that a
reader sees its form. `not`, `if` and `uniqueItems` are not looked at. Whatever the schema holds, the value is small:
of what does not fit into `_MOST_VALUES`, nothing is filled.
"""

import math
from typing import Any

from scripted_upstream.pattern_filler import matching_text

_MOST_VALUES = 2000
_MOST_CHARACTERS = 4096
_SHOWN = 4
"""Levels on which an array gets an entry, and an object what it does not require, without being asked to."""
_DEEP = 6
"""Levels after which null is taken where it is allowed: a schema may contain itself."""
_TOO_DEEP = 24
_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "someone@example.org",
    "hostname": "example.org",
    "uri": "https://example.org/",
    "url": "https://example.org/",
    "uuid": f"{0:08}-0000-4000-8000-{0:012}",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}
_EDGES = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_KEYWORDS_OF = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems"),
    "number": ("multipleOf", *_EDGES),
}


def fill(schema: dict[str, Any]) -> Any:
    """Return the simplest instance of the schema; of one that cannot be fulfilled, something."""
    return _Form(schema).value(schema, "text", 0)


class _Form:
    """The schema being filled; references are looked up in its root."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._values = 0

    def value(self, given: Any, name: str, depth: int) -> Any:
        self._values += 1
        if depth > _TOO_DEEP or self._values > _MOST_VALUES:
            return None
        schema = self._resolved(given)
        variants = _list(schema, "anyOf") or _list(schema, "oneOf")
        if variants:
            rest = {key: schema[key] for key in schema if key not in ("anyOf", "oneOf")}
            return self.value({**rest, **self._variant(variants, depth)}, name, depth + 1)
        for keyword in ("const", "default"):
            if keyword in schema:
                return schema[keyword]
        if options := _list(schema, "enum"):
            return options[0]
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
        members = _dict(schema, "properties")
        names = [name for name in _list(schema, "required") if isinstance(name, str)]
        if "required" not in schema and depth < _SHOWN:
            names = [
                name
                for name, member in members.items()
                if not (isinstance(member, dict) and "default" in member)
            ]
        return {name: self.value(members.get(name), name, depth + 1) for name in names}

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        least = int(_figure(schema, "minItems", 0))
        wanted = 1 if "items" in schema and depth < _SHOWN else 0
        most = _figure(schema, "maxItems", math.inf)
        count = min(max(least, min(wanted, most)), _MOST_VALUES)
        entries = _list(schema, "prefixItems")
        entries = [*entries, *[schema.get("items")] * int(count - len(entries))]
        return [self.value(entry, name, depth + 1) for entry in entries]

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
            joined = [*_list(schema, "allOf")]
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


def _list(schema: dict[str, Any], keyword: str) -> list[Any]:
    found = schema.get(keyword)
    return found if isinstance(found, list) else []


def _dict(schema: dict[str, Any], keyword: str) -> dict[str, Any]:
    found = schema.get(keyword)
    return found if isinstance(found, dict) else {}


def _figure(schema: dict[str, Any], keyword: str, otherwise: float) -> float:
    found = schema.get(keyword)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return otherwise
    return found


def _kind(schema: dict[str, Any]) -> str:
    if "type" not in schema:
        kinds = (kind for kind, words in _KEYWORDS_OF.items() if any(w in schema for w in words))
        return next(kinds, "string")
    kinds_given = schema["type"]
    if isinstance(kinds_given, list):
        return next((str(kind) for kind in kinds_given if kind != "null"), "null")
    return str(kinds_given)


def _joined(schemas: list[Any]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for schema in (schema for schema in schemas if isinstance(schema, dict)):
        members = {**_dict(joined, "properties"), **_dict(schema, "properties")}
        required = [*_list(joined, "required"), *_list(schema, "required")]
        joined |= schema
        joined |= {"properties": members} if members else {}
        joined |= {"required": required} if required else {}
    return joined


def _text(schema: dict[str, Any], name: str) -> str:
    if (known := _FORMATS.get(str(schema.get("format")))) is not None:
        return known
    least = int(_figure(schema, "minLength", 0))
    most = int(_figure(schema, "maxLength", _MOST_CHARACTERS))
    if isinstance(pattern := schema.get("pattern"), str):
        found = matching_text(pattern, least, most)
        if found is not None:
            return found
    return name.ljust(min(least, _MOST_CHARACTERS), ".")[: max(most, 0)]


def _number(schema: dict[str, Any]) -> float:
    step = _figure(schema, "multipleOf", 1) or 1
    edges = [_figure(schema, edge, 0) for edge in _EDGES if edge in schema]
    # The quotient of a huge edge and a tiny step is no number.
    steps = [math.ceil(edge / step) for edge in edges if math.isfinite(edge / step)]
    near = [(count + move) * step for count in steps for move in (0, 1, -1)]
    middle = [edges[0] + (edges[-1] - edges[0]) / 2] if edges else []
    numbers = (0, *near, *middle, *edges)
    return next((number for number in numbers if _fits(schema, number)), 0)


def _fits(schema: dict[str, Any], value: float) -> bool:
    step = _figure(schema, "multipleOf", 1 if schema.get("type") == "integer" else 0)
    return (
        _figure(schema, "minimum", -math.inf) <= value <= _figure(schema, "maximum", math.inf)
        and _figure(schema, "exclusiveMinimum", -math.inf) < value
        and value < _figure(schema, "exclusiveMaximum", math.inf)
        and (
            not step
            or abs(value / step) == math.inf
            or math.isclose(value / step, round(value / step))
        )
    )
