"""JSON schemas for the OpenAPI document, in few words, and those of our own marshmallow fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
NULL: Schema = {"type": "null"}
ANY: Schema = {}


def record(properties: Mapping[str, Schema], *, optional: Sequence[str] = ()) -> Schema:
    """Return the schema of an object in which each of these is, but for those that are optional."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def array(items: Schema, **more: Any) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items, **more}


def of(*kinds: Schema) -> Schema:
    """Return the schema of what is one of several."""
    return {"anyOf": list(kinds)}


def or_null(kind: Schema) -> Schema:
    """Return the schema of what may be null."""
    return of(kind, NULL)


def words(*known: str | None) -> Schema:
    """Return the schema of one out of a few texts; None for null."""
    return {"enum": list(known)}


def constant(value: Any) -> Schema:
    """Return the schema of one value."""
    return {"const": value}


def told(kind: Schema, meaning: str) -> Schema:
    """Return a schema with its meaning in words."""
    return kind | {"description": meaning}


def component(name: str) -> Schema:
    """Return a reference to a component of the document."""
    return {"$ref": f"#/components/schemas/{name}"}
