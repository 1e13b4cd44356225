"""Bodies of requests for the OpenAPI document, out of what reads them: fields, and members of their objects. Pure.

Which fields and members there are, and which kinds of objects, is known to `BodyFields` and `Members`. What type a
member has is known only to the code that reads it, so it is told here, by its name, which means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.api.body_fields import BodyFields
from app.api.members import Kinds, Members
from app.http.fields import Typed
from app.http.json_schema import (
    ANY,
    BOOLEAN,
    INTEGER,
    OBJECT,
    STRING,
    Schema,
    array,
    of,
    told,
    words,
)
from app.http.operation import Body

_STRINGS = (
    *("arguments", "call_id", "description", "effort", "encrypted_content", "file_data", "file_id"),
    *(
        "file_url",
        "filename",
        "generate_summary",
        "id",
        "image_url",
        "instructions",
        "mode",
        "model",
    ),
    *(
        "name",
        "namespace",
        "phase",
        "previous_response_id",
        "prompt_cache_key",
        "reasoning_content",
    ),
    *("refusal", "role", "safety_identifier", "status", "text", "tool_call_id", "type", "url"),
    *("user", "verbosity"),
)
_TYPES: Mapping[str, Schema] = MappingProxyType(
    {
        **dict.fromkeys(_STRINGS, STRING),
        "include": array(STRING),
        "include_usage": BOOLEAN,
        "index": INTEGER,
        "parameters": OBJECT,
        "prompt": of(STRING, array(STRING, minItems=1)),
        "schema": OBJECT,
        "stop": of(STRING, array(STRING)),
        "strict": BOOLEAN,
        "summary": of(STRING, array(ANY)),
    }
)
"""Types of fields and members; of one that is not here anything is told."""

_LISTS = frozenset({"messages", "tools", "tool_calls", "functions"})
_TEXTS_OR_LISTS = frozenset({"content", "input", "output"})
_WORDS_OR_OBJECTS = frozenset({"tool_choice", "function_call", "image_url"})
"""Members that hold objects, and how. The others hold one."""

_WITHOUT_EFFECT = "Accepted, without effect here; `codex_metadata.ignored_parameters` names it."
_REFUSED = "Refused with 400 `unsupported_parameter`, but for values that ask for nothing."


def described_body(
    name: str,
    fields: BodyFields,
    meanings: Mapping[str, str],
    *,
    needs: tuple[str, ...] = (),
    needs_one_of: tuple[str, ...] = (),
) -> Body:
    """Return the body that these fields read. `meanings` says in words what becomes of each."""
    properties = {
        field: _property(field, fields, meanings.get(field, ""))
        for field in dict.fromkeys((*fields.schema.fields, *fields.ignored, *fields.refused))
    }
    return Body(name, properties, needs, needs_one_of, needs_model="model" in properties)


def _property(name: str, fields: BodyFields, meaning: str) -> Schema:
    if name in fields.refused:
        return told(words(*fields.refused[name], None), meaning or _REFUSED)
    field = fields.schema.fields.get(name)
    schema = field.json_schema() if isinstance(field, Typed) else _TYPES.get(name, ANY)
    if name in fields.inner:
        schema = _member(name, fields.inner[name])
    if name in fields.ignored:
        meaning = meaning or _WITHOUT_EFFECT
    return told(schema, meaning) if meaning else schema


def _member(name: str, inner: Members | Kinds | None) -> Schema:
    if inner is None:
        return _TYPES.get(name, ANY)
    schema = _object(inner)
    if name in _LISTS:
        return array(schema)
    if name in _TEXTS_OR_LISTS:
        return of(STRING, array(schema))
    if name in _WORDS_OR_OBJECTS:
        return of(STRING, schema)
    return schema


def _object(described: Members | Kinds) -> Schema:
    if isinstance(described, Members):
        names = sorted(described.read)
        return {
            "type": "object",
            "properties": {name: _member(name, described.inner.get(name)) for name in names},
        }
    same: dict[int, list[str]] = {}
    for kind, members in described.kinds.items():
        same.setdefault(id(members), []).append(kind)
    found = [_kind(described, kinds) for kinds in same.values()]
    return found[0] if len(found) == 1 else of(*found)


def _kind(described: Kinds, kinds: list[str]) -> Schema:
    """Return the schema of objects of these kinds, which have the same members."""
    schema = _object(described.kinds[kinds[0]])
    schema["properties"][described.member] = words(*kinds)
    if described.otherwise not in kinds:
        schema["required"] = [described.member]
    return schema


def plain_body(
    name: str, schema: Any, meanings: Mapping[str, str], *, needs: tuple[str, ...] = ()
) -> Body:
    """Return the body that a marshmallow schema of our own fields reads."""
    properties = {
        field: told(found.json_schema() if isinstance(found, Typed) else dict(ANY), meanings[field])
        for field, found in schema.fields.items()
    }
    return Body(name, properties, needs)
