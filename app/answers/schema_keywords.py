"""Keywords of a caller's JSON schema: which a strict upstream enforces, which it refuses, which only annotate. Pure.

What OpenAI takes was measured by many, and is in ADR-0040 with its sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ENFORCED = frozenset(
    {
        *("type", "enum", "const", "anyOf", "$ref", "$defs", "definitions"),
        *("properties", "required", "additionalProperties", "items", "minItems", "maxItems"),
        *("pattern", "format", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
)
"""Sent, and enforced by the upstream."""

REFUSED = frozenset(
    {
        *("allOf", "oneOf", "not", "if", "then", "else"),
        *("dependentRequired", "dependentSchemas", "dependencies"),
        *("patternProperties", "propertyNames", "minProperties", "maxProperties"),
        *("unevaluatedProperties", "unevaluatedItems", "additionalItems", "prefixItems"),
        *("uniqueItems", "contains", "minContains", "maxContains", "$dynamicRef", "$recursiveRef"),
    }
)
"""They constrain, so that a schema without them would be another one, and no strict upstream knows them."""

SILENT = frozenset(
    {
        *("title", "description", "default", "examples"),
        *("$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly"),
    }
)
"""They only annotate, as JSON Schema itself says."""

FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
"""Values of `format` that a strict upstream enforces; any other one only annotates."""

DEFINITIONS = ("$defs", "definitions")

# Keywords whose value is made of schemas: by name, in a list, or one alone.
NAMED = frozenset({"properties", *DEFINITIONS, "patternProperties", "dependentSchemas"})
LISTED = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
SINGLE = frozenset(
    {
        *("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems"),
        *("not", "if", "then", "else", "contains", "propertyNames", "contentSchema"),
    }
)

MOST_OPTIONS = 1000
"""Values of all `enum` of a strict schema together."""

_MOST_NAMES = 10
_LONGEST_NAME = 64


def unknown_annotations(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keywords that nobody enforces and JSON Schema does not call annotations, sorted, each once.

    `format` is among them where its value is unknown. At most 10, of at most 64 characters: they are a caller's words.
    """
    found: set[str] = set()
    for entry in _entries(schema):
        found |= entry.keys() - ENFORCED - REFUSED - SILENT
        if entry.get("format", "date") not in FORMATS:
            found.add("format")
    return tuple(name[:_LONGEST_NAME] for name in sorted(found)[:_MOST_NAMES])


def _entries(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schema, and every schema in it."""
    waiting: list[Any] = [schema]
    while waiting:
        entry = waiting.pop()
        if not isinstance(entry, Mapping):
            continue
        yield entry
        for keyword, value in entry.items():
            if keyword in NAMED:
                waiting += value.values()
            elif keyword in LISTED:
                waiting += value
            elif keyword in SINGLE:
                waiting.append(value)
