"""
A value for a JSON schema, filled from what a text says. Pure.

What the text gives no clue about gets its default, or the simplest value that the schema allows.
`pattern`, `not` and `if` are not looked at.
"""

import math
import re
from typing import Any, Final

from scripted_upstream.text_hints import Clues, words

_DEEP: Final = 6
"""Levels after which only what is required is filled: a schema may contain itself."""
_TOO_DEEP: Final = 24
_SHORT: Final = 80
_WHOLE_TEXT: Final = frozenset(
    {"content", "input", "message", "prompt", "query", "question", "request", "text"}
)
_FORMATS: Final = {
    "date": (r"\d{4}-\d{2}-\d{2}", "2000-01-01"),
    "date-time": (r"\d{4}-\d{2}-\d{2}T[\d:]+(?:Z|[+-]\d{2}:\d{2})", "2000-01-01T00:00:00Z"),
    "time": (r"\b\d{2}:\d{2}:\d{2}\b", "00:00:00"),
    "email": (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "someone@example.org"),
    "uri": (r"https?://[^\s\"'<>]+", "https://example.org/"),
    "uuid": (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", f"{0:08}-0000-4000-8000-{0:012}"),
    "ipv4": (r"\b\d+(?:\.\d+){3}\b", "192.0.2.1"),
}
_YES: Final = frozenset({"true", "yes", "on", "enabled"})
_NO: Final = frozenset({"false", "no", "off", "disabled"})


def fill(schema: dict[str, Any], text: str) -> Any:
    """Return an instance of the schema."""
    return _Form(schema, Clues(text, {"JSON", *property_names(schema)})).value(schema, "", 0)


def property_names(schema: Any) -> set[str]:
    """Return the names of all properties, at any depth."""
    if isinstance(schema, list):
        return set().union(*map(property_names, schema))
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties")
    members = own if isinstance(own, dict) else {}
    others = (value for keyword, value in schema.items() if keyword != "properties")
    return set(members).union(*map(property_names, [*members.values(), *others]))


class _Form:
    """The schema being filled: its definitions, and the clues that are left."""

    def __init__(self, root: dict[str, Any], clues: Clues) -> None:
        self._root = root
        self._clues = clues

    def value(self, given: Any, name: str, depth: int) -> Any:
        schema = self._resolved(given)
        variants = schema.get("anyOf") or schema.get("oneOf")
        if variants and depth < _TOO_DEEP:
            rest = {key: schema[key] for key in schema if key not in ("anyOf", "oneOf")}
            return self.value({**rest, **self._variant(variants, name, depth)}, name, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._option(schema)
        return self._of_kind(self._kind(schema, name), schema, name, depth)

    def _of_kind(self, kind: str, schema: dict[str, Any], name: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return self._string(schema, name)
            case "integer" | "number":
                return self._number(schema, name)
            case "boolean":
                return self._boolean(schema, name)
        return None

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

    def _variant(self, variants: list[Any], name: str, depth: int) -> dict[str, Any]:
        """The variant that the text speaks of most; nothing, if that is allowed and asked for."""
        resolved = [self._resolved(variant) for variant in variants]
        empty = [variant for variant in resolved if variant.get("type") == "null"]
        if empty and (depth > _DEEP or self._clues.denies(name)):
            return empty[0]
        full = [variant for variant in resolved if variant.get("type") != "null"]
        return max(full or empty, key=self._closeness)

    def _closeness(self, schema: dict[str, Any]) -> int:
        about = [schema.get("title", ""), *schema.get("properties", ())]
        for member in schema.get("properties", {}).values():
            about += [str(option) for option in _options(member)]
        return len(words(" ".join(map(str, about))) & self._clues.words)

    def _kind(self, schema: dict[str, Any], name: str) -> str:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            full = [kind for kind in kinds if kind != "null"]
            return "null" if self._clues.denies(name) or not full else str(full[0])
        if kinds is None:
            return "object" if "properties" in schema else "string"
        return str(kinds)

    def _option(self, schema: dict[str, Any]) -> Any:
        options = schema["enum"]
        said = [
            option for option in options if isinstance(option, str) and self._clues.mentions(option)
        ]
        numbers = [option for option in options if isinstance(option, (int, float))]
        number = self._clues.number(lambda found: found in numbers)
        if said or number is None:
            return max(said, key=len) if said else schema.get("default", options[0])
        return next(option for option in numbers if option == float(number))

    # One for each type

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        members = schema.get("properties", {})
        required = schema.get("required", ())
        if depth == 0 and self._is_list(members):
            required = tuple(members)
        filled: dict[str, Any] = {}
        for key, member in members.items() if depth < _TOO_DEEP else ():
            if key in required or (depth < _DEEP and self._clues.mentions(key)):
                filled[key] = self.value(member, key, depth + 1)
        return filled

    def _is_list(self, members: dict[str, Any]) -> bool:
        """True for an object that is only there to hold a list: that is filled, required or not."""
        kinds = [self._resolved(member).get("type") for member in members.values()]
        return kinds == ["array"]

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self.value(entry, name, depth + 1) for entry in schema["prefixItems"]]
        items, least = self._resolved(schema.get("items")), int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(least, 100)))
        if items.get("type") == "string" and not _options(items):
            said = self._clues.listed(name)[:most]
        else:
            said = [*self._numbers(items)][:most]
        if depth >= _DEEP:
            return said
        wanted = min(max(least, 1), most)
        return said + [self.value(items, name, depth + 1) for _ in range(wanted - len(said))]

    def _numbers(self, schema: dict[str, Any]) -> list[Any]:
        found = []
        while schema.get("type") in ("integer", "number"):
            number = self._clues.number(lambda value: _fits(schema, value))
            if number is None:
                break
            found.append(_written(number))
        return found

    def _number(self, schema: dict[str, Any], name: str) -> float:
        said = self._clues.named(name) or ""
        is_number = re.fullmatch(r"-?\d+(?:\.\d+)?", said) is not None
        if not is_number or not _fits(schema, float(said)):
            said = self._clues.number(lambda value: _fits(schema, value)) or ""
        return _written(said) if said else _simplest_number(schema)

    def _boolean(self, schema: dict[str, Any], name: str) -> bool:
        said = (self._clues.named(name) or "").lower()
        if said in _YES | _NO:
            return said in _YES
        if self._clues.mentions(name):
            return not self._clues.denies(name)
        return bool(schema.get("default", False))

    def _string(self, schema: dict[str, Any], name: str) -> str:
        pattern, simplest = _FORMATS.get(schema.get("format", ""), ("", ""))
        if pattern:
            return self._clues.matching(pattern) or schema.get("default") or simplest
        said = self._clues.named(name)
        if said is None and not words(name) & _WHOLE_TEXT:
            said = self._clues.phrase() if "default" not in schema else schema["default"]
        if said is None:
            short = " ".join(self._clues.text.split())[:_SHORT]
            said = short if words(name) & _WHOLE_TEXT else f"{name or 'text'}: {short}"
        padded = said.ljust(int(schema.get("minLength", 0)), ".")
        return padded[: int(schema.get("maxLength", len(padded)))]


def _joined(schemas: list[Any]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for schema in (schema for schema in schemas if isinstance(schema, dict)):
        members = {**joined.get("properties", {}), **schema.get("properties", {})}
        required = [*joined.get("required", ()), *schema.get("required", ())]
        joined |= schema
        joined |= {"properties": members} if members else {}
        joined |= {"required": required} if required else {}
    return joined


def _options(schema: Any) -> list[Any]:
    given = schema if isinstance(schema, dict) else {}
    return [given["const"]] if "const" in given else list(given.get("enum") or ())


def _fits(schema: dict[str, Any], value: float) -> bool:
    step = schema.get("multipleOf") or (1 if schema.get("type") == "integer" else 0)
    return (
        schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < value
        and value < schema.get("exclusiveMaximum", math.inf)
        and (not step or math.isclose(value / step, round(value / step)))
    )


def _written(said: str) -> float:
    value = float(said)
    return int(value) if value.is_integer() and "." not in said else value


def _simplest_number(schema: dict[str, Any]) -> float:
    step = schema.get("multipleOf") or 1
    edges = [schema[edge] for edge in _EDGES if edge in schema]
    near = [math.ceil(edge / step) * step + move * step for edge in edges for move in (0, 1, -1)]
    middle = [sum(edges) / len(edges)] if edges else []
    options = [schema.get("default"), 0, *near, *middle]
    return next((n for n in options if n is not None and _fits(schema, n)), 0)


_EDGES: Final = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
