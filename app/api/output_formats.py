"""Reader of an answer's format: `response_format` of chat completions, `text.format` of the Responses API. Pure.

Both say the same; the first has a JSON schema in a wrapper, the second beside its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.answers.field_errors import invalid_type, invalid_value, missing
from app.answers.output_format import JSON_OBJECT, TEXT, FormatFields, OutputFormat, from_schema

_TYPES = ("text", "json_object", "json_schema")


def parse_format(
    given: Any, where: str = "response_format", wrapper: str = "json_schema"
) -> OutputFormat:
    """Read a format. Raises `InvalidRequest`, which names the field.

    `wrapper` is the member that has the schema and its name; where it is empty, they stand beside the type.
    """
    if not isinstance(given, dict):
        raise invalid_type(where, "an object", given)
    kind = given.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    if kind == "text":
        return TEXT
    if kind == "json_object":
        return JSON_OBJECT
    if kind != "json_schema":
        raise invalid_value(f"{where}.type", kind, _TYPES)
    return _schema(*_described(given, where, wrapper), where)


def text_format(given: Mapping[str, Any]) -> OutputFormat:
    """Read `text.format` of the Responses API, where it is given."""
    wanted = given.get("text", {}).get("format")
    return TEXT if wanted is None else parse_format(wanted, "text.format", "")


def text_verbosity(given: Mapping[str, Any]) -> str | None:
    """Read `text.verbosity` of the Responses API, where it is given."""
    wanted = given.get("text", {}).get("verbosity")
    if wanted is not None and wanted not in _LEVELS:
        raise invalid_value("text.verbosity", wanted, _LEVELS)
    return None if wanted is None else str(wanted)


_LEVELS = ("low", "medium", "high")


def _described(given: Mapping[str, Any], where: str, wrapper: str) -> tuple[Mapping[str, Any], str]:
    """Return the object that has the schema, and its place."""
    if not wrapper:
        return given, where
    described, at = given.get(wrapper), f"{where}.{wrapper}"
    if described is None:
        raise missing(at)
    if not isinstance(described, dict):
        raise invalid_type(at, "an object", described)
    return described, at


def _schema(described: Mapping[str, Any], at: str, where: str) -> OutputFormat:
    name = _member(described, "name", at, str, "a string")
    schema = _member(described, "schema", at, dict, "an object")
    strict = _member(described, "strict", at, bool, "a boolean", is_optional=True)
    description = _member(described, "description", at, str, "a string", is_optional=True)
    fields = FormatFields(where, f"{at}.schema")
    return from_schema(
        name, schema, strict=bool(strict), description=description or "", fields=fields
    )


def _member(
    described: Mapping[str, Any],
    name: str,
    at: str,
    kind: type,
    expected: str,
    *,
    is_optional: bool = False,
) -> Any:
    value, where = described.get(name), f"{at}.{name}"
    if value is None and not is_optional:
        raise missing(where)
    if value is not None and not isinstance(value, kind):
        raise invalid_type(where, expected, value)
    return value
