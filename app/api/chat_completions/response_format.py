"""Reader of `response_format`: the caller's wish into an `OutputFormat`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.answers.field_errors import invalid_type, invalid_value, missing
from app.answers.output_format import JSON_OBJECT, TEXT, FormatFields, OutputFormat, from_schema

_TYPES = ("text", "json_object", "json_schema")
_WRAPPER = "response_format.json_schema"
_FIELDS = FormatFields("response_format", f"{_WRAPPER}.schema")


def parse_format(given: Any) -> OutputFormat:
    """Read `response_format`. Raises `InvalidRequest`, which names the field."""
    if not isinstance(given, dict):
        raise invalid_type("response_format", "an object", given)
    kind = given.get("type")
    if kind is None:
        raise missing("response_format.type")
    if kind == "text":
        return TEXT
    if kind == "json_object":
        return JSON_OBJECT
    if kind != "json_schema":
        raise invalid_value("response_format.type", kind, _TYPES)
    wrapper = given.get("json_schema")
    if wrapper is None:
        raise missing(_WRAPPER)
    if not isinstance(wrapper, dict):
        raise invalid_type(_WRAPPER, "an object", wrapper)
    name = _member(wrapper, "name", str, "a string")
    schema = _member(wrapper, "schema", dict, "an object")
    strict = _member(wrapper, "strict", bool, "a boolean", is_optional=True)
    description = _member(wrapper, "description", str, "a string", is_optional=True)
    return from_schema(
        name, schema, strict=bool(strict), description=description or "", fields=_FIELDS
    )


def _member(
    wrapper: Mapping[str, Any], name: str, kind: type, expected: str, *, is_optional: bool = False
) -> Any:
    value, where = wrapper.get(name), f"{_WRAPPER}.{name}"
    if value is None and not is_optional:
        raise missing(where)
    if value is not None and not isinstance(value, kind):
        raise invalid_type(where, expected, value)
    return value
