"""Page for people out of the OpenAPI document: what the template shows, and its style. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
code, pre { font: 0.9em/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: 0.75rem; background: var(--soft); border-radius: 0.4rem; }
nav ul { list-style: none; padding: 0; columns: 2 20rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; }
td { border-bottom: 1px solid var(--line); }
td:last-child { overflow-wrap: anywhere; white-space: pre-line; }
summary { cursor: pointer; }
.method { font-weight: 700; }
"""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{_DIGEST}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing is loaded and nothing runs; the style is the one that is in the page."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: a field, a parameter or a status."""

    name: str
    kind: str
    meaning: str
    is_needed: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation. `body` and `answers` have the schemas as JSON, by what they are of."""

    id: str
    method: str
    path: str
    summary: str
    keys: str
    parameters: tuple[Row, ...]
    fields: tuple[Row, ...]
    statuses: tuple[Row, ...]
    schemas: tuple[tuple[str, str], ...]


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows of a document."""
    return {
        "style": Markup(STYLE),  # noqa: S704  (ours, and the policy has its digest)
        "openapi": document["openapi"],
        "info": document["info"],
        "errors": list(_errors(document["components"]["schemas"]["Error"])),
        "entries": [
            _entry(document, path, method, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ],
    }


def _errors(envelope: Mapping[str, Any]) -> Iterator[Row]:
    for code in envelope["properties"]["error"]["properties"]["code"]["anyOf"]:
        if "const" in code:
            yield Row(code["const"], "", code["description"])


def _entry(
    document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]
) -> Entry:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return Entry(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        keys=", ".join(name for scheme in operation["security"] for name in scheme),
        parameters=tuple(map(_parameter, operation.get("parameters", ()))),
        fields=tuple(_fields(_resolved(document, body.get("schema", {})))),
        statuses=tuple(
            Row(status, "", response["description"])
            for status, response in operation["responses"].items()
        ),
        schemas=tuple(_schemas(document, operation)),
    )


def _parameter(parameter: Mapping[str, Any]) -> Row:
    schema = parameter["schema"]
    return Row(
        parameter["name"],
        _kind(schema),
        schema.get("description", ""),
        is_needed=parameter.get("required", False),
    )


def _fields(schema: Mapping[str, Any]) -> Iterator[Row]:
    needed = schema.get("required", ())
    for name, described in schema.get("properties", {}).items():
        meaning = described.get("description", "")
        yield Row(name, _kind(described), meaning, is_needed=name in needed)


def _kind(schema: Mapping[str, Any]) -> str:
    """Return the type of a schema in a word or two."""
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(_kind, schema["anyOf"])))
    if "type" in schema:
        bounds = [str(schema[name]) for name in ("minimum", "maximum") if name in schema]
        return f"{schema['type']} {' to '.join(bounds)}".strip()
    return "any"


def _schemas(
    document: Mapping[str, Any], operation: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    contents = [("Body", operation.get("requestBody", {}).get("content", {}))]
    contents += [("Answer", operation["responses"].get("200", {}).get("content", {}))]
    for what, content in contents:
        for media_type, found in content.items():
            schema = _resolved(document, found.get("x-item-schema") or found["schema"])
            yield f"{what}, {media_type}", json.dumps(schema, indent=1)


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the component that a schema refers to, or the schema."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found
