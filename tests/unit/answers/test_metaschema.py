"""A schema is judged as another implementation of the metaschema would judge it, and the place is named."""

from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.answers.metaschema import JSON_SCHEMA, READ_BY_CODEX, check_size, first_violation
from app.errors import InvalidRequest

READ = [
    *("properties", "$defs", "items", "additionalProperties", "anyOf", "oneOf", "allOf"),
    *("enum", "required", "description", "$ref", "minItems"),
]
KEYWORDS = [
    *READ,
    *("prefixItems", "definitions", "patternProperties", "dependentSchemas", "contains"),
    *("propertyNames", "not", "if", "then", "else", "unevaluatedItems", "unevaluatedProperties"),
    *("contentSchema", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"),
    *("minContains", "maxContains", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("pattern", "format", "title", "$comment", "$id", "$schema", "$anchor", "$dynamicRef"),
    *("$dynamicAnchor", "contentEncoding", "contentMediaType", "uniqueItems", "deprecated"),
    *("readOnly", "writeOnly", "type", "multipleOf", "examples", "dependentRequired"),
    *("dependencies", "const", "default", "brandNew"),
]
VALUES: list[object] = [
    *(None, True, 0, -1, 1.0, 1.5, "", "object", "nope", {}, {"a": 5}, {"a": {}}, {"a": ["b"]}),
    *([], [5], ["a"], ["a", "a"], ["object"], ["object", "null"], [{}], [True], [None]),
    *({"a": ["b", "b"]}, {"a": {"type": 5}}, [{"type": 5}], {"type": 5}),
]
METASCHEMA = Draft202012Validator(Draft202012Validator.META_SCHEMA)

WORDS = st.sampled_from(["object", "string", "a", "b", ""])
PLAIN = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from([0.5, 1.0]) | WORDS
ANY = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(WORDS, PLAIN, max_size=2)
SCHEMAS = st.recursive(
    st.just({}) | st.booleans() | st.dictionaries(st.sampled_from(KEYWORDS), ANY, max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(KEYWORDS),
        inner | st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2) | ANY,
        max_size=3,
    ),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCHEMAS)
def test_any_schema_is_judged_as_the_metaschema_would(schema: Any) -> None:
    assert (first_violation(schema, "s", JSON_SCHEMA) is None) is METASCHEMA.is_valid(schema)


def test_every_keyword_is_judged_as_the_metaschema_would() -> None:
    wrong = [
        {keyword: value}
        for keyword, value in product(KEYWORDS, VALUES)
        if (first_violation({keyword: value}, "s", JSON_SCHEMA) is None)
        is not METASCHEMA.is_valid({keyword: value})
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("schema", "place", "reason"),
    [
        (
            {"$defs": {"n": {"anyOf": [{}, {"items": {"x" * 99: 5, "minItems": -1}}]}}},
            "s.$defs.n.anyOf[1].items.minItems",
            "the value there is less than the minimum of 0",
        ),
        (
            {"properties": {"x" * 99: 5}},
            f"s.properties.{'x' * 64}",
            'the value there is not of types "boolean", "object"',
        ),
        ({"enum": "x" * 999}, "s.enum", 'the value there is not of type "array"'),
        (5, "s", 'the value there is not of types "boolean", "object"'),
    ],
)
def test_the_place_is_named_and_what_is_wrong_there(schema: Any, place: str, reason: str) -> None:
    assert first_violation(schema, "s", JSON_SCHEMA) == (place, reason)
    named, _ = first_violation(schema, "s", READ_BY_CODEX) or ("", "")
    assert named == place


@pytest.mark.parametrize("kind", ["nope", 5, ["nope"], ["string", "string"], []])
def test_a_type_that_is_none_is_told_from_the_types_there_are(kind: Any) -> None:
    _, reason = first_violation({"type": kind}, "s", JSON_SCHEMA) or ("", "")
    assert reason == (
        "the value there is none of array, boolean, integer, null, number, object, string"
    )


def test_what_codex_takes_is_not_looked_at_more_closely() -> None:
    schema = {"type": "any", "anyOf": [], "required": ["a", "a"], "pattern": 5, "minItems": None}
    assert first_violation(schema, "s", READ_BY_CODEX) is None
    assert first_violation(schema, "s", JSON_SCHEMA) is not None


def test_a_member_that_is_null_is_absent_for_codex_and_an_entry_is_not() -> None:
    assert [name for name in KEYWORDS if first_violation({name: None}, "s", READ_BY_CODEX)] == []
    for schema in ({"properties": {"a": None}}, {"anyOf": [None]}, {"required": [None]}):
        assert first_violation(schema, "s", READ_BY_CODEX) is not None


def test_a_schema_cannot_choose_how_it_is_judged() -> None:
    for dialect in ("http://json-schema.org/draft-04/schema#", "http://127.0.0.1:9/x", "x"):
        schema = {"$schema": dialect, "exclusiveMinimum": True, "$ref": "http://127.0.0.1:9/x"}
        place, _ = first_violation(schema, "s", JSON_SCHEMA) or ("", "")
        assert place == "s.exclusiveMinimum"


def nested(levels: int) -> Any:
    schema: Any = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("fits", "too_much"),
    [
        (nested(63), nested(64)),
        ({"enum": [0] * 5000}, {"enum": [0] * 5001}),
        ({"anyOf": [{}] * 4999}, {"anyOf": [{}] * 5000}),
        ({"anyOf": [{"enum": [0] * 4990}] * 10}, {"anyOf": [{"enum": [0] * 4999}] * 10}),
    ],
    ids=["levels", "members", "objects and arrays", "values"],
)
def test_a_schema_has_a_largest_size(fits: Any, too_much: Any) -> None:
    check_size(fits, "f", "c")
    with pytest.raises(InvalidRequest) as raised:
        check_size(too_much, "f", "c")
    assert (raised.value.param, raised.value.code) == ("f", "c")
