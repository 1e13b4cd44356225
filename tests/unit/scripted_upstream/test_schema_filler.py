import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from scripted_upstream.schema_filler import fill

TEXT: dict[str, Any] = {"type": "string"}
INTEGER: dict[str, Any] = {"type": "integer"}
NUMBER: dict[str, Any] = {"type": "number"}
NULL: dict[str, Any] = {"type": "null"}


def form(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members)}


NODE = form(v=INTEGER, next={"anyOf": [{"$ref": "#/$defs/Node"}, NULL]})
TREE = form(name=TEXT, children={"type": "array", "items": {"$ref": "#"}})

TABLE: list[tuple[dict[str, Any], Any]] = [
    # numbers
    (INTEGER, 0),
    ({**INTEGER, "minimum": 5, "maximum": 9}, 5),
    ({**INTEGER, "exclusiveMinimum": 1}, 2),
    ({**INTEGER, "exclusiveMaximum": -3}, -4),
    ({**INTEGER, "multipleOf": 5, "minimum": 11}, 15),
    ({**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({**NUMBER, "minimum": -90, "maximum": 90}, 0),
    ({**NUMBER, "minimum": 1.5, "maximum": 1.6}, 1.55),
    ({"minimum": 3}, 3),
    # texts
    (TEXT, "text"),
    (form(city=TEXT), {"city": "city"}),
    (form(city={**TEXT, "maxLength": 3}), {"city": "cit"}),
    (form(city={**TEXT, "minLength": 6}), {"city": "city.."}),
    *(
        (form(at={**TEXT, "format": name}), None)
        for name in ("date", "date-time", "time", "duration", "email", "hostname", "uri")
    ),
    *((form(at={**TEXT, "format": name}), None) for name in ("uuid", "ipv4", "ipv6", "other")),
    *(
        (form(code={**TEXT, "pattern": pattern}), {"code": text})
        for pattern, text in (
            (r"^[A-Z]{3}-\d{2,4}$", "AAA-00"),
            (r"^(?:\+)?[1-9]\d{6,14}$", "1000000"),
            (r"^(?!no)\w+$", "code"),  # not made: the name will do
        )
    ),
    # choices
    ({"enum": ["celsius", "fahrenheit"]}, "celsius"),
    ({"const": "fixed"}, "fixed"),
    ({**INTEGER, "default": 4}, 4),
    ({"type": "boolean"}, False),
    (NULL, None),
    ({"type": ["null", "string"]}, "text"),
    ({"type": ["null"]}, None),
    ({"anyOf": [NULL, form(a=INTEGER)]}, {"a": 0}),
    ({"oneOf": [INTEGER, TEXT]}, 0),
    # what is not required is left out
    ({"type": "object", "properties": {"zone": TEXT}, "required": []}, {}),
    # a schema that does not say what is required is filled, but for what has a default
    (
        {"type": "object", "properties": {"city": TEXT, "unit": {"default": None}}},
        {"city": "city"},
    ),
    ({"properties": {"a": INTEGER}, "required": ["a"]}, {"a": 0}),
    ({"type": "object", "required": ["unheard-of"]}, {"unheard-of": "unheard-of"}),
    ({"type": "array", "items": TEXT}, ["text"]),
    ({"type": "array", "items": TEXT, "maxItems": 0}, []),
    ({"type": "array"}, []),
    # nested
    ({"type": "array", "items": INTEGER, "minItems": 2}, [0, 0]),
    ({"type": "array", "prefixItems": [TEXT, INTEGER]}, ["text", 0]),
    ({"allOf": [form(x=INTEGER), form(y=INTEGER)]}, {"x": 0, "y": 0}),
    (form(at=form(city=TEXT)), {"at": {"city": "city"}}),
    (form(list=NODE) | {"$defs": {"Node": NODE}}, None),
    (
        TREE,
        {
            "name": "name",
            "children": [{"name": "name", "children": [{"name": "name", "children": []}]}],
        },
    ),
]


@pytest.mark.parametrize(("schema", "wanted"), TABLE)
def test_the_value_is_valid_and_simple(schema: Any, wanted: Any) -> None:
    filled = fill(schema)
    checker = Draft202012Validator.FORMAT_CHECKER
    Draft202012Validator(schema, format_checker=checker).validate(filled)
    if wanted is not None:
        assert filled == wanted


@pytest.mark.parametrize(
    "schema",
    [
        form(me={"$ref": "#"}),
        form(me={"$ref": "#/$defs/nowhere"}),
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}]},
        {"allOf": [{"$ref": "#"}]},
        {"type": "array", "minItems": 1, "items": {"$ref": "#"}},
        form(a=True),
        form(a={"type": "unheard-of"}),
        {},
    ],
)
def test_a_schema_that_cannot_be_followed_ends_too(schema: Any) -> None:
    fill(schema)


VAST = {"type": "array", "minItems": 10**12, "items": {**TEXT, "minLength": 10**12}}


@pytest.mark.parametrize(
    "schema",
    [
        VAST,
        {"type": "array", "minItems": 10**12, "items": VAST},
        {**NUMBER, "minimum": 1e308, "multipleOf": 1e-308},
        {**TEXT, "pattern": "(a+)+" * 500},
        {**TEXT, "pattern": "((a{1000}){1000}){1000}"},
        {"properties": {str(n): {"$ref": "#"} for n in range(20)}},
    ],
)
def test_a_vast_schema_has_a_small_value(schema: Any) -> None:
    assert len(json.dumps(fill(schema))) < 10_000_000


KEYWORDS = (
    *("type", "properties", "required", "items", "prefixItems", "minItems", "maxItems", "enum"),
    *("anyOf", "oneOf", "allOf", "$ref", "minimum", "exclusiveMaximum", "multipleOf", "format"),
    *("pattern", "minLength", "maxLength", "default"),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["object", "#", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYWORDS), ANYTHING, max_size=6))
def test_what_is_no_schema_is_filled_with_something(schema: Any) -> None:
    json.dumps(fill(schema))
