from typing import Any

import pytest

from scripted_upstream.schemas import complaint

TEXT = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def deep(levels: int) -> dict[str, Any]:
    return closed(a=deep(levels - 1)) if levels else closed()


def opened(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    "schema",
    [
        closed(),
        closed(a=TEXT, b={"type": ["string", "null"]}),
        closed(a=closed(b=TEXT)),
        closed(a={"type": "array", "items": closed(b=TEXT)}),
        closed(a={"anyOf": [closed(b=TEXT), {"type": "null"}]}),
        {**closed(a={"$ref": "#/$defs/x"}), "$defs": {"x": closed(b=TEXT)}},
        closed(a={"anyOf": [{"$ref": "#"}, {"type": "null"}], "description": "d", "title": "t"}),
        closed(
            a={**TEXT, "minLength": 1, "pattern": "x", "format": "date"}, b={**TEXT, "const": "x"}
        ),
        deep(10),
    ],
)
def test_a_strict_schema_passes(schema: Any) -> None:
    assert complaint(schema, strict=True) is None


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (None, "got 'type: \"None\"'"),
        ({"type": "string"}, "got 'type: \"string\"'"),
        (opened(a=TEXT), "In context=(), 'additionalProperties'"),
        ({**closed(a=TEXT), "additionalProperties": True}, "'additionalProperties'"),
        ({**closed(a=TEXT), "required": []}, "Missing 'a'"),
        ({**closed(a=TEXT), "required": ["a", "b"]}, "Extra 'b'"),
        (closed(a=opened(b=TEXT)), "In context=('properties', 'a'), 'additional"),
        (closed(a={"type": ["object", "null"], "properties": {}}), "context=('properties', 'a')"),
        (closed(a={"type": "array", "items": opened()}), "('properties', 'a', 'items')"),
        (closed(a={"anyOf": [TEXT, opened()]}), "('properties', 'a', 'anyOf', '1')"),
        ({**closed(), "$defs": {"x": opened()}}, "('$defs', 'x')"),
        (closed(a={"oneOf": [TEXT]}), "'oneOf' is not permitted"),
        (closed(a={"type": "array"}), "array schema missing items"),
        (closed(a={"type": ["array", "null"]}), "array schema missing items"),
        (closed(a={"type": "array", "prefixItems": [TEXT]}), "'prefixItems' is not permitted"),
        (closed(a={**TEXT, "default": "x"}), "('properties', 'a'), 'default' is not permitted"),
        (closed(a={**TEXT, "x-y": 1}), "'x-y' is not permitted"),
        (closed(a={**TEXT, "uniqueItems": False}), "'uniqueItems' is not permitted"),
        (closed(a={}), "In context=('properties', 'a'), schema must have a 'type' key."),
        (closed(a={"const": 1}), "schema must have a 'type' key."),
        (closed(a={**TEXT, "format": "uri"}), "('properties', 'a'), 'uri' is not a valid format."),
        (closed(a={"$ref": "#", "description": "d"}), "$ref cannot have keywords {'description'}."),
        (closed(a={"$ref": "#/properties/a"}), "reference can only point to definitions"),
        (closed(a={"$ref": "#/$defs/x"}), "reference can only point to definitions"),
        (closed(a=True), "True is not of type 'object'."),
        ({"$ref": "#/$defs/x", "$defs": {"x": closed()}}, "got 'type: \"None\"'"),
        ({**closed(), "anyOf": [closed()]}, "at the top level. Found 'anyOf'."),
        (closed(a={**TEXT, "enum": ["x"] * 1001}), "Expected at most 1000 enum values"),
        (deep(12), "Expected at most 10 levels"),
    ],
)
def test_a_false_strict_schema_is_refused(schema: Any, said: str) -> None:
    found = complaint(schema, strict=True)
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (opened(a=TEXT), None),
        (opened(a={"oneOf": [TEXT]}), None),
        ({"type": "object"}, "object schema missing properties"),
        (opened(a={"type": "array"}), "('properties', 'a'), array schema missing items"),
        ({}, "got 'type: \"None\"'"),
    ],
)
def test_an_ordinary_schema_needs_less(schema: Any, said: str | None) -> None:
    found = complaint(schema, strict=False)
    assert (found is None) if said is None else (found is not None and said in found)
