from typing import Any

import pytest
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
    # texts
    (TEXT, "text"),
    (form(city=TEXT), {"city": "city"}),
    (form(city={**TEXT, "maxLength": 3}), {"city": "cit"}),
    (form(city={**TEXT, "minLength": 6}), {"city": "city.."}),
    *(
        (form(at={**TEXT, "format": name}), None)
        for name in ("date", "date-time", "time", "email", "uri", "uuid", "ipv4", "other")
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
    ({"type": "object", "properties": {"zone": TEXT}}, {}),
    ({"properties": {"a": INTEGER}, "required": ["a"]}, {"a": 0}),
    ({"type": "object", "required": ["unheard-of"]}, {"unheard-of": "unheard-of"}),
    ({"type": "array", "items": TEXT}, []),
    # nested
    ({"type": "array", "items": INTEGER, "minItems": 2}, [0, 0]),
    ({"type": "array", "prefixItems": [TEXT, INTEGER]}, ["text", 0]),
    ({"allOf": [form(x=INTEGER), form(y=INTEGER)]}, {"x": 0, "y": 0}),
    (form(at=form(city=TEXT)), {"at": {"city": "city"}}),
    (form(list=NODE) | {"$defs": {"Node": NODE}}, None),
    (TREE, {"name": "name", "children": []}),
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
