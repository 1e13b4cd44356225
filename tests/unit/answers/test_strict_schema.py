"""Which schemas are strict, what is sent of them, and what is said of one that is not.

The upstream's own rules are in `scripted_upstream.schemas`, which shares no code with the gateway.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.answers.metaschema import JSON_SCHEMA, first_violation
from app.answers.strict_schema import NotStrict, to_strict
from scripted_upstream.schemas import complaint

STRING = {"type": "string"}
NULL = {"type": "null"}
ALL = "it must name all properties and no others."


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def loose(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


OPEN = {"type": "object", "properties": {}}
OPTIONAL = closed(a=STRING, b=STRING) | {"required": ["a"]}


def strict(schema: dict[str, Any], *, closes: bool = False) -> dict[str, Any]:
    before = copy.deepcopy(schema)
    sent = to_strict(schema, "s", closes=closes)
    assert schema == before
    assert complaint(sent, strict=True) is None
    return sent


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize(
    "schema",
    [
        closed(),
        closed(a=STRING),
        {**closed(a=STRING, b={"type": "integer"}), "required": ["b", "a"]},
        {**closed(a=STRING), "title": "t", "description": "d"},
        closed(a={"type": ["string", "null"]}),
        closed(a={"type": "string", "enum": ["x"]}, b={"type": "integer", "const": 1}),
        closed(a={"type": "string", "pattern": "^a$", "format": "date"}),
        closed(a={"type": "string", "minLength": 1, "maxLength": 2}),
        closed(a={"type": "number", "multipleOf": 2, "minimum": 0, "maximum": 9}),
        closed(a={"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9}),
        closed(a={"type": "array", "items": STRING, "minItems": 1, "maxItems": 2}),
        closed(a={"type": "array", "items": closed(b=STRING)}),
        closed(a={"anyOf": [STRING, NULL, closed(b=STRING)]}),
        closed(a=closed(b=closed(c=STRING))),
        {**closed(a={"$ref": "#/$defs/k"}), "$defs": {"k": closed(b=STRING)}},
        {**closed(a={"$ref": "#/definitions/k"}), "definitions": {"k": STRING}},
        closed(a={"anyOf": [{"$ref": "#"}, NULL]}),
        # Keywords that are only names here.
        closed(allOf=STRING, additionalProperties=STRING, default=STRING, **{"$ref": STRING}),
    ],
)
def test_a_strict_schema_is_sent_as_it_is(schema: dict[str, Any], closes: bool) -> None:
    sent = strict(schema, closes=closes)
    assert sent == schema
    assert list(sent["properties"]) == list(schema["properties"])


CAT = closed(kind={"type": "string", "const": "cat"}, lives={"type": "integer"})
DOG = closed(kind={"type": "string", "enum": ["dog", "wolf"]})
PLACES = ("properties", "items", "anyOf", "$defs")


def nested(place: str, entry: dict[str, Any]) -> dict[str, Any]:
    if place == "$defs":
        return {**closed(), "$defs": {"d": entry}}
    if place == "anyOf":
        return closed(a={"anyOf": [NULL, entry]})
    return closed(a={"type": "array", "items": entry} if place == "items" else entry)


@pytest.mark.parametrize(
    ("given_entry", "sent"),
    [
        ({**STRING, "$comment": "c", "readOnly": True, "writeOnly": True}, STRING),
        ({**STRING, "deprecated": True, "$id": "x", "$schema": "y", "$anchor": "z"}, STRING),
        ({**STRING, "nullable": True, "x-order": 1, "propertyOrdering": ["a"]}, STRING),
        ({**STRING, "contentEncoding": "base64", "example": "e", "brandNew": {}}, STRING),
        ({**STRING, "default": None, "examples": []}, STRING),
        ({"type": "array", "items": STRING, "uniqueItems": False}, {"type": "array", "items": STRING}),
        # What tells the model something is told in words.
        ({**STRING, "default": "x"}, {**STRING, "description": '(default: "x")'}),
        (
            {**STRING, "description": "d", "default": False, "examples": ["é", 1]},
            {**STRING, "description": 'd (default: false; examples: ["é",1])'},
        ),
        ({**STRING, "format": "uri"}, {**STRING, "description": '(format: "uri")'}),
        ({"type": "integer", "format": "int32"}, {"type": "integer", "description": '(format: "int32")'}),
        # What is implied is said.
        ({"const": "x"}, {"type": "string", "const": "x"}),
        ({"enum": ["x", 1, None]}, {"type": ["string", "integer", "null"], "enum": ["x", 1, None]}),
        ({"enum": [True, 1.5]}, {"type": ["boolean", "number"], "enum": [True, 1.5]}),
        ({"type": ["string"]}, STRING),
        ({"type": "object", "additionalProperties": False}, closed()),
        # One of one is that one.
        ({"allOf": [{**STRING, "title": "t"}]}, {"anyOf": [{**STRING, "title": "t"}]}),
        ({"oneOf": [STRING], "description": "d"}, {"anyOf": [STRING], "description": "d"}),
        # One of several that exclude each other is any of them.
        ({"oneOf": [STRING, NULL]}, {"anyOf": [STRING, NULL]}),
        ({"oneOf": [CAT, DOG], "discriminator": {"propertyName": "kind"}}, {"anyOf": [CAT, DOG]}),
    ],
)  # fmt: skip
def test_what_only_annotates_is_not_sent(given_entry: dict[str, Any], sent: dict[str, Any]) -> None:
    for place in PLACES:
        assert strict(nested(place, given_entry)) == nested(place, sent)


def test_references_of_a_choice_are_followed() -> None:
    definitions = {"$defs": {"Cat": CAT, "Dog": DOG}}
    pets = [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]
    schema = {**closed(pet={"oneOf": pets}), **definitions}
    assert strict(schema) == {**closed(pet={"anyOf": pets}), **definitions}


def test_nothing_stands_beside_a_reference() -> None:
    definitions = {"$defs": {"d": STRING}}
    reference = {"$ref": "#/$defs/d"}
    described = closed(a={**reference, "description": "d", "default": 1}, b={**reference, "x-y": 1})
    assert strict({**described, **definitions}) == {
        **closed(a={"anyOf": [reference], "description": "d (default: 1)"}, b=reference),
        **definitions,
    }


NODE = closed(value=STRING, next={"anyOf": [{"$ref": "#/$defs/Node"}, NULL]})
DEFS = {"$defs": {"Node": NODE}}


@pytest.mark.parametrize(
    "root",
    [
        {"$ref": "#/$defs/Node"},
        {"$ref": "#/%24defs/Node"},
        {"allOf": [{"$ref": "#/$defs/Node"}]},
        {"anyOf": [{"$ref": "#/$defs/Node"}]},
        {"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"$ref": "#/$defs/Node"}}},
    ],
)
def test_a_root_that_leads_to_an_object_is_that_object(root: dict[str, Any]) -> None:
    sent = strict({**root, **DEFS, "$schema": "x", "description": "d"})
    sent.pop("definitions", None)
    assert sent == {**NODE, **DEFS, "description": "d"}


SENTENCES: list[tuple[dict[str, Any], str]] = [
    # The root
    ({"type": "array"}, "'type' must be 'object' in 's', but is 'array'."),
    ({"type": ["object", "null"]}, "'type' must be 'object' in 's', but is ['object', 'null']."),
    ({}, "'type' is missing from 's'; it must be 'object'."),
    ({"properties": {"a": STRING}}, "'type' is missing from 's'; it must be 'object'."),
    ({**closed(), "anyOf": [{}, {}]}, "'anyOf' is not permitted in 's', which must be one object."),
    ({"oneOf": [closed(), NULL]}, "'oneOf' is not permitted in 's', which must be one object."),
    ({"anyOf": [closed(), NULL]}, "'anyOf' is not permitted in 's', which must be one object."),
    ({**closed(), "not": {}}, "'not' is not permitted in 's', which must be one object."),
    ({**closed(), "enum": [{}]}, "'enum' is not permitted in 's', which must be one object."),
    ({"$ref": "#/$defs/none"}, "'$ref' in 's' does not lead to an object in its '$defs'."),
    ({"$ref": "http://x/y"}, "'$ref' in 's' does not lead to an object in its '$defs'."),
    ({"$ref": "#"}, "'$ref' in 's' does not lead to an object in its '$defs'."),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "'$ref' in 's' does not lead"),
    ({"$ref": "#/$defs/a", "$defs": {"a": STRING}}, "'type' must be 'object' in 's', but is 'string'."),
    ({"$ref": "#/$defs/a", "$defs": {"a": True}}, "'$ref' in 's' does not lead to an object"),
    (
        {"$ref": "#/$defs/a", "$defs": {"a": OPTIONAL}},
        f"'b' is missing from 'required' in 's.$defs.a'; {ALL}",
    ),
    # Objects
    (OPEN, "'additionalProperties' must be false in 's'."),
    ({"type": "object"}, "'additionalProperties' must be false in 's'."),
    (loose(a=STRING), "'additionalProperties' must be false in 's'."),
    ({**closed(a=STRING), "additionalProperties": True}, "'additionalProperties' must be false in 's'."),
    ({**closed(a=STRING), "additionalProperties": STRING}, "'additionalProperties' must be false"),
    (OPTIONAL, f"'b' is missing from 'required' in 's'; {ALL}"),
    (closed() | {"required": ["x"]}, f"'x' is no property, but in 'required' in 's'; {ALL}"),
    # Anywhere
    (closed(a={**STRING, "uniqueItems": True}), "'uniqueItems' is not permitted in 's.properties.a'."),
    (closed(a=True), "'s.properties.a' must be an object that describes a type."),
    (closed(a={}), "'type' is missing from 's.properties.a'."),
    (closed(a={"properties": {"b": STRING}}), "'type' is missing from 's.properties.a'."),
    (closed(a={"enum": [{}]}), "'type' is missing from 's.properties.a'."),
    (closed(a={"type": "array"}), "'items' is missing from 's.properties.a', which is an array."),
    (closed(a={"type": ["array", "null"]}), "'items' is missing from 's.properties.a'"),
    (closed(a={"type": "array", "items": {}}), "'type' is missing from 's.properties.a.items'."),
    (closed(a={"allOf": [STRING, STRING]}), "'allOf' is not permitted in 's.properties.a'."),
    (closed(a={**STRING, "allOf": [STRING]}), "'allOf' is not permitted in 's.properties.a'."),
    (closed(a={"oneOf": [STRING, STRING]}), "'oneOf' is not permitted in 's.properties.a'."),
    (closed(a={"oneOf": [CAT, OPEN]}), "'oneOf' is not permitted in 's.properties.a'."),
    (closed(a={"oneOf": [NULL, OPEN]}), "'additionalProperties' must be false in 's.properties.a.oneOf[1]'."),
    (
        closed(a={"$ref": "#", "minLength": 1}),
        "'minLength' is not permitted beside '$ref' in 's.properties.a'.",
    ),
    (
        closed(a=closed(), b={"$ref": "#/properties/a"}),
        "'$ref' in 's.properties.b' leads to no definition at the top of the schema.",
    ),
    (
        closed(a={"type": "array", "items": OPTIONAL}),
        f"'b' is missing from 'required' in 's.properties.a.items'; {ALL}",
    ),
    (
        closed(a={"anyOf": [NULL, OPEN]}),
        "'additionalProperties' must be false in 's.properties.a.anyOf[1]'.",
    ),
    (closed() | {"$defs": {"d": OPEN}}, "'additionalProperties' must be false in 's.$defs.d'."),
    (closed(**{"n" * 99: True}), f"'s.properties.{'n' * 64}' must be an object that describes"),
    *(
        (closed(a={**STRING, keyword: value}), f"'{keyword}' is not permitted in 's.properties.a'.")
        for keyword, value in {
            "not": {},
            "if": {},
            "then": {},
            "else": {},
            "contains": {},
            "prefixItems": [{}],
            "patternProperties": {},
            "propertyNames": {},
            "minProperties": 1,
            "maxProperties": 1,
            "dependentRequired": {},
            "dependentSchemas": {},
            "unevaluatedProperties": False,
        }.items()
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "sentence"), SENTENCES)
def test_the_member_at_fault_and_its_place_are_told(schema: dict[str, Any], sentence: str) -> None:
    assert first_violation(schema, "s", JSON_SCHEMA) is None
    with pytest.raises(NotStrict) as raised:
        to_strict(schema, "s", closes=False)
    assert str(raised.value).startswith(sentence)


# Closing


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = loose(a=STRING)
    for _ in range(levels - 1):
        schema = loose(a=schema)
    return schema


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (loose(a=STRING), closed(a=STRING)),
        ({"properties": {"a": STRING}, "required": ["a"]}, closed(a=STRING)),
        (loose(a=loose(b=STRING)), closed(a=closed(b=STRING))),
        (loose(a={"type": "array", "items": loose(b=STRING)}), closed(a={"type": "array", "items": closed(b=STRING)})),
        (loose(a={"anyOf": [loose(b=STRING), NULL]}), closed(a={"anyOf": [closed(b=STRING), NULL]})),
        ({**loose(a={"$ref": "#/$defs/d"}), "$defs": {"d": loose(b=STRING)}},
         {**closed(a={"$ref": "#/$defs/d"}), "$defs": {"d": closed(b=STRING)}}),
        (loose(a={**loose(b=STRING), "type": ["object", "null"]}),
         closed(a={**closed(b=STRING), "type": ["object", "null"]})),
        (loose(a=closed()), closed(a=closed())),
    ],
)  # fmt: skip
def test_an_object_that_requires_all_its_properties_is_closed(
    schema: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert strict(schema, closes=True) == sent
    with pytest.raises(NotStrict):
        to_strict(schema, "s", closes=False)


def test_it_is_closed_as_deep_as_upstreams_take_it() -> None:
    strict(deep(10), closes=True)
    with pytest.raises(NotStrict):
        to_strict(deep(11), "s", closes=True)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        OPEN,
        {**loose(a=STRING), "required": []},
        {**loose(a=STRING), "required": ["a", "b"]},
        {**loose(a=STRING), "additionalProperties": True},
        {**loose(a=STRING), "additionalProperties": STRING},
        loose(a={"type": "object"}),
        loose(a={"anyOf": [STRING, OPEN]}),
        {**loose(a=STRING), "$defs": {"d": OPEN}},
        {**loose(a=STRING), "minProperties": 1},
        {**loose(a=STRING), "patternProperties": {"^x": STRING}},
        # Closed, either part would forbid what the other one requires.
        loose(a={**loose(b=STRING), "anyOf": [loose(c=STRING)]}),
        loose(a={**closed(b=STRING, c=STRING), "anyOf": [loose(b=STRING)]}),
        loose(a={**loose(b=STRING), "allOf": [loose(c=STRING)]}),
        loose(a={**loose(b=STRING), "oneOf": [loose(c=STRING), NULL]}),
        {**loose(a={**loose(b=STRING), "$ref": "#/$defs/d"}), "$defs": {"d": loose(c=STRING)}},
        loose(a={"type": "string", "enum": [str(i) for i in range(1001)]}),
    ],
)
def test_what_cannot_be_closed_stays_open(schema: dict[str, Any]) -> None:
    assert first_violation(schema, "s", JSON_SCHEMA) is None
    with pytest.raises(NotStrict):
        to_strict(schema, "s", closes=True)


# Any schema

LEAVES = st.sampled_from(
    [
        STRING,
        NULL,
        {},
        {"enum": ["x", 1]},
        {"const": "x"},
        {"$ref": "#/$defs/d"},
        {"$ref": "#/$defs/d", "description": "d"},
        {"type": "integer", "minimum": 1, "default": 2},
        {"type": "string", "format": "uri", "x-y": 1},
    ]
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda properties, required, more: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if required or name == "a"],
            **more,
        },
        st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
        st.booleans(),
        st.sampled_from([{}, {}, {"additionalProperties": False}, {"title": "t"}]),
    )


ENTRIES = st.recursive(
    LEAVES,
    lambda inner: (
        objects(inner)
        | st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=2))
        | st.builds(lambda one: {"allOf": [one]}, inner)
        | st.builds(lambda some: {"oneOf": some}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.sampled_from(["x", 1, 2, None]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(objects(ENTRIES), ENTRIES, st.booleans(), st.lists(VALUES, max_size=8))
def test_what_is_sent_is_strict_and_allows_nothing_else(
    root: dict[str, Any], definition: dict[str, Any], closes: bool, values: list[Any]
) -> None:
    schema = {**root, "$defs": {"d": definition}}
    try:
        sent = strict(schema, closes=closes)
    except NotStrict:
        return
    before, after = Draft202012Validator(schema), Draft202012Validator(sent)
    for value in values:
        try:
            is_valid = after.is_valid(value)
        except RecursionError:  # a definition that is only itself
            continue
        if closes:
            assert before.is_valid(value) or not is_valid
        else:
            assert before.is_valid(value) is is_valid
