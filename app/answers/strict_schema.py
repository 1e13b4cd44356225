"""Strict schemas, as OpenAI means it: closed objects, every property required, known keywords. Pure.

The upstream gets a schema written anew, which says the same, or less where that is allowed: without what it would
refuse although it only annotates, with types that were only implied, and with the root that a reference leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from app.answers.exclusive_schemas import are_exclusive
from app.answers.field_errors import shown
from app.answers.schema_keywords import DEFINITIONS, ENFORCED, FORMATS, MOST_OPTIONS, REFUSED

_LONGEST_NAME = 64
_MOST_LEVELS = 10  # of objects
_NOTHING_IF_FALSE = frozenset({"uniqueItems", "minProperties"})
_ONE_OF_ONE = ("allOf", "oneOf")
_KINDS: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}
_HINTS = ("default", "examples", "format")
"""Annotations that tell a model something; some strict upstreams refuse them, so they go into the description."""


class NotStrict(Exception):
    """No error: the first place that keeps a schema from being strict, in a sentence."""


def to_strict(schema: Mapping[str, Any], where: str, *, closes: bool) -> dict[str, Any]:
    """Return the schema as a strict upstream takes it. Raises `NotStrict`.

    `where` is what the schema is called. With `closes`, an object that requires all its properties and says nothing
    of others allows no others: a part of what it did. The schema must be a valid one, and of a checked size.
    """
    return _Writer(schema, closes=closes).root(where)


class _Writer:
    def __init__(self, schema: Mapping[str, Any], *, closes: bool) -> None:
        self._schema, self._closes = schema, closes
        self._options = 0
        self._exclusive: dict[tuple[int, ...], bool] = {}
        """By the identities of alternatives: many a union may be of the same large definitions."""

    def root(self, where: str) -> dict[str, Any]:
        root = self._led_to()
        for name in ("anyOf", "enum", *sorted(REFUSED)):
            if name in root:
                raise NotStrict(
                    f"'{name}' is not permitted in '{where}', which must be one object."
                )
        if "$ref" in root:
            raise NotStrict(f"'$ref' in '{where}' does not lead to an object in its '$defs'.")
        implied = "object" if self._closes and "properties" in root else None
        kind = root.get("type", implied)
        if kind is None:
            raise NotStrict(f"'type' is missing from '{where}'; it must be 'object'.")
        if kind not in ("object", ["object"]):
            raise NotStrict(f"'type' must be 'object' in '{where}', but is {shown(kind)}.")
        if root is not self._schema:
            for group in DEFINITIONS:  # a fault is told from where it stands
                self._named(self._schema.get(group, {}), f"{where}.{group}")
        return self._entry({**root, "type": "object"}, where)

    def _led_to(self) -> Mapping[str, Any]:
        """Return the root, or what it leads to if it is only a reference or the only one of several."""
        root, seen = self._schema, set()
        while True:
            name = _only_constraint(root)
            pointer = str(root.get("$ref"))
            if name == "$ref" and pointer not in seen:
                target = self._target(pointer)
                seen.add(pointer)
            elif name in ("anyOf", *_ONE_OF_ONE) and len(root[name]) == 1:
                (target,) = root[name]
            else:
                return root
            if not isinstance(target, Mapping):
                return root
            around = {key: value for key, value in root.items() if key != name}
            # What its words refer to is the whole; definitions are looked up in the schema's own.
            root = {**target, **around}

    def _target(self, pointer: str) -> Any:
        """Return what a reference leads to; None if it does not lead to a definition of the schema's own."""
        if pointer == "#":
            return self._schema
        parts = unquote(pointer).split("/")
        if (
            len(parts) != len(("#", "group", "name"))
            or parts[0] != "#"
            or parts[1] not in DEFINITIONS
        ):
            return None
        name = parts[2].replace("~1", "/").replace("~0", "~")
        return self._schema.get(parts[1], {}).get(name)

    def _entry(self, schema: Any, where: str) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            raise NotStrict(f"'{where}' must be an object that describes a type.")
        choice = self._choice(schema)
        for name in schema:
            if (
                name in REFUSED
                and name != choice
                and (schema[name] or name not in _NOTHING_IF_FALSE)
            ):
                raise NotStrict(f"'{name}' is not permitted in '{where}'.")
        if "$ref" in schema:
            return self._reference(schema, where)
        shape = self._shape(schema, where, has_choice=choice in schema)
        return shape | self._below(schema, where, choice) | _words(schema)

    def _choice(self, schema: Mapping[str, Any]) -> str:
        """Return the keyword whose schemas are alternatives as those of `anyOf` are."""
        alone = _only_constraint(schema)
        if alone in _ONE_OF_ONE and len(schema[alone]) == 1:
            return alone
        if "oneOf" in schema and "anyOf" not in schema:
            followed = [self._followed(entry) for entry in schema["oneOf"]]
            known = tuple(map(id, followed))
            if known not in self._exclusive:
                self._exclusive[known] = are_exclusive(followed)
            if self._exclusive[known]:
                return "oneOf"
        return "anyOf"

    def _followed(self, schema: Any) -> Any:
        is_reference = isinstance(schema, Mapping) and _only_constraint(schema) == "$ref"
        return self._target(schema["$ref"]) if is_reference else schema

    def _reference(self, schema: Mapping[str, Any], where: str) -> dict[str, Any]:
        beside = _constraints(schema) - {"$ref"}
        if beside:
            raise NotStrict(f"'{min(beside)}' is not permitted beside '$ref' in '{where}'.")
        if not isinstance(self._target(schema["$ref"]), Mapping):
            raise NotStrict(f"'$ref' in '{where}' leads to no definition at the top of the schema.")
        reference, words = {"$ref": schema["$ref"]}, _words(schema)
        # Nothing may stand beside a reference, not even a description.
        return {"anyOf": [reference], **words} if words else reference

    def _shape(self, schema: Mapping[str, Any], where: str, *, has_choice: bool) -> dict[str, Any]:
        """Return the keywords of this level, with those that were only implied."""
        written = {name: value for name, value in schema.items() if name in ENFORCED}
        if written.get("format") not in FORMATS:
            written.pop("format", None)
        kinds = self._kinds(written)
        if not kinds and not has_choice:
            raise NotStrict(f"'type' is missing from '{where}'.")
        if kinds:
            written["type"] = kinds[0] if len(kinds) == 1 else kinds
        if "object" in kinds or "properties" in written:
            if self._closes and has_choice:
                # Closed, either would forbid what the other one requires.
                raise NotStrict(f"A choice is not permitted beside 'properties' in '{where}'.")
            self._make_closed(written, where)
        if "array" in kinds and "items" not in written:
            raise NotStrict(f"'items' is missing from '{where}', which is an array.")
        self._options += len(written.get("enum", ()))
        if self._closes and self._options > MOST_OPTIONS:
            raise NotStrict(f"There are too many values in '{where}.enum'.")
        return written

    def _kinds(self, written: Mapping[str, Any]) -> list[str]:
        """Return the names of types that are said or implied; none where a reader would have to guess."""
        if "type" in written:
            kind = written["type"]
            return [kind] if isinstance(kind, str) else list(kind)
        if self._closes and "properties" in written:
            return ["object"]
        values = [written["const"]] if "const" in written else written.get("enum", ())
        kinds = {_KINDS.get(type(value), ""): None for value in values}
        return [] if "" in kinds else list(kinds)

    def _make_closed(self, written: dict[str, Any], where: str) -> None:
        """Check that an object allows its own properties and requires them all; with `closes`, make it so."""
        properties, required = set(written.get("properties", ())), set(written.get("required", ()))
        is_deep = where.count(".properties.") >= _MOST_LEVELS
        if self._closes and properties and properties == required and not is_deep:
            written.setdefault("additionalProperties", False)
        if written.get("additionalProperties") is not False:
            raise NotStrict(f"'additionalProperties' must be false in '{where}'.")
        if properties != required:
            name = min(properties ^ required)
            said = "is missing from" if name in properties else "is no property, but in"
            raise NotStrict(
                f"'{name[:_LONGEST_NAME]}' {said} 'required' in '{where}'; it must name all properties and no others."
            )
        written.setdefault("properties", {})
        written.setdefault("required", [])

    def _below(self, schema: Mapping[str, Any], where: str, choice: str) -> dict[str, Any]:
        written: dict[str, Any] = {}
        for group in (*DEFINITIONS, "properties"):
            if group in schema:
                written[group] = self._named(schema[group], f"{where}.{group}")
        if choice in schema:
            written["anyOf"] = [
                self._entry(entry, f"{where}.{choice}[{index}]")
                for index, entry in enumerate(schema[choice])
            ]
        if "items" in schema:
            written["items"] = self._entry(schema["items"], f"{where}.items")
        return written

    def _named(self, group: Mapping[str, Any], where: str) -> dict[str, Any]:
        return {
            name: self._entry(entry, f"{where}.{name[:_LONGEST_NAME]}")
            for name, entry in group.items()
        }


def _constraints(schema: Mapping[str, Any]) -> set[str]:
    return schema.keys() & (ENFORCED | REFUSED) - set(DEFINITIONS)


def _only_constraint(schema: Mapping[str, Any]) -> str | None:
    found = _constraints(schema)
    return found.pop() if len(found) == 1 else None


def _words(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return what the model is told of a schema: its title, and its description with the hints in it."""
    given = {name: schema.get(name) for name in _HINTS}
    if given["format"] in FORMATS:
        given["format"] = None
    hints = [
        f"{name}: {orjson.dumps(value).decode()}"
        for name, value in given.items()
        if value not in (None, [])
    ]
    words = {name: schema[name] for name in ("title", "description") if name in schema}
    if hints:
        told = f"({'; '.join(hints)})"
        words["description"] = f"{words.get('description', '')} {told}".lstrip()
    return words
