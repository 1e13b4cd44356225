from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from scripted_upstream.schema_filler import fill, property_names
from scripted_upstream.text_hints import Clues, words

TEXT: dict[str, Any] = {"type": "string"}
INTEGER: dict[str, Any] = {"type": "integer"}
NUMBER: dict[str, Any] = {"type": "number"}
NULL: dict[str, Any] = {"type": "null"}


def form(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members)}


NODE = form(v=INTEGER, next={"anyOf": [{"$ref": "#/$defs/Node"}, NULL]})
TREE = form(name=TEXT, children={"type": "array", "items": {"$ref": "#"}})
CAT = {"title": "Cat", **form(kind={"const": "cat"}, lives=INTEGER)}
DOG = {"title": "Dog", **form(kind={"const": "dog"}, name=TEXT)}
OPTIONAL = {"anyOf": [TEXT, NULL]}

TABLE: list[tuple[dict[str, Any], str, Any]] = [
    # numbers
    (form(a=INTEGER, b=INTEGER), "What is 3 + 4", {"a": 3, "b": 4}),
    (form(a=INTEGER, b=INTEGER), "b is 3 and a = 4", {"a": 4, "b": 3}),
    (form(n=INTEGER), "f(-3)", {"n": -3}),
    (form(n=INTEGER), "the 2nd of x1, then 2.5, then 7", {"n": 7}),
    (form(n=NUMBER), "about 2.5 of it", {"n": 2.5}),
    (form(n={**INTEGER, "minimum": 5, "maximum": 9}), "1, 7 or 12", {"n": 7}),
    (form(n={**INTEGER, "exclusiveMinimum": 1}), "1", {"n": 2}),
    (form(n={**INTEGER, "exclusiveMaximum": -3}), "", {"n": -4}),
    (form(n={**INTEGER, "multipleOf": 5, "minimum": 11}), "12", {"n": 15}),
    (form(n={**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 1}), "", {"n": 0.5}),
    (form(n={**INTEGER, "default": 4}), "nothing", {"n": 4}),
    (form(n=INTEGER), "", {"n": 0}),
    # lists that nobody requires
    (
        {"type": "object", "properties": {"tasks": {"type": "array", "items": form(n=INTEGER)}}},
        "7 of them",
        {"tasks": [{"n": 7}]},
    ),
    ({"type": "object", "properties": {"zone": TEXT}}, "What time is it?", {}),
    # texts
    (form(city=TEXT), "the weather in Paris?", {"city": "Paris"}),
    (form(city=TEXT), "the weather in paris?", {"city": "paris"}),
    (form(city=TEXT), "San Francisco, CA is nice", {"city": "San Francisco, CA"}),
    (
        form(city=TEXT, country=TEXT),
        "country: Italy, city: Rome",
        {"city": "Rome", "country": "Italy"},
    ),
    (form(favColor=TEXT), "My fav color is blue.", {"favColor": "blue"}),
    (form(customer_name=TEXT), "a customer named '你好' in China", {"customer_name": "你好"}),
    (form(word=TEXT), "Count the letters of “gateway” please", {"word": "gateway"}),
    (form(query=TEXT), "Who wrote Faust?", {"query": "Who wrote Faust?"}),
    (form(x=TEXT), "hm", {"x": "x: hm"}),
    (form(x={**TEXT, "default": "d"}), "in Rome", {"x": "d"}),
    (form(x={**TEXT, "maxLength": 3}), "in Rome", {"x": "Rom"}),
    (form(x={**TEXT, "minLength": 6}), "in Rome", {"x": "Rome.."}),
    (form(to={**TEXT, "format": "email"}), "Write to a.b@c.org.", {"to": "a.b@c.org"}),
    (form(on={**TEXT, "format": "date"}), "due 2026-11-24", {"on": "2026-11-24"}),
    (form(on={**TEXT, "format": "date"}), "soon", {"on": "2000-01-01"}),
    # choices
    (form(u={"enum": ["celsius", "fahrenheit"]}), "in Fahrenheit", {"u": "fahrenheit"}),
    (form(u={"enum": ["celsius", "fahrenheit"]}), "warm", {"u": "celsius"}),
    (form(u={"enum": [1, 2]}), "take 2", {"u": 2}),
    (form(u={"const": "fixed"}), "other", {"u": "fixed"}),
    (form(ok={"type": "boolean"}), "it is ok", {"ok": True}),
    (form(ok={"type": "boolean"}), "it is not ok", {"ok": False}),
    (form(dry_run={"type": "boolean"}), "dry run: yes", {"dry_run": True}),
    (form(ok={"type": "boolean"}), "", {"ok": False}),
    (
        form(pet={"anyOf": [CAT, DOG]}),
        "The dog is named Rex",
        {"pet": {"kind": "dog", "name": "Rex"}},
    ),
    (form(pet={"oneOf": [CAT, DOG]}), "a cat with 9 lives", {"pet": {"kind": "cat", "lives": 9}}),
    (form(end=OPTIONAL), "no end, please", {"end": None}),
    (form(end={"type": ["string", "null"]}), "without an end", {"end": None}),
    (form(end={"type": ["null", "string"]}), "end is near", {"end": "near"}),
    (form(end=NULL), "end is near", {"end": None}),
    # nested
    (
        form(tags={"type": "array", "items": TEXT}),
        "tags: red, green and blue.",
        {"tags": ["red", "green", "blue"]},
    ),
    (form(s={"type": "array", "items": NUMBER}), "1, 2.5 and 3", {"s": [1, 2.5, 3]}),
    (form(s={"type": "array", "items": NUMBER, "maxItems": 2}), "1 2 3", {"s": [1, 2]}),
    (form(s={"type": "array", "items": INTEGER, "minItems": 2}), "8", {"s": [8, 0]}),
    (form(s={"type": "array", "prefixItems": [TEXT, INTEGER]}), "in Rome 5", {"s": ["Rome", 5]}),
    (form(s={"type": "array", "items": form(n=INTEGER)}), "4", {"s": [{"n": 4}]}),
    (form(at=form(city=TEXT, zip=TEXT)), "Bern, zip 3011", {"at": {"city": "Bern", "zip": "3011"}}),
    (form(list=NODE) | {"$defs": {"Node": NODE}}, "1 2", None),
    (TREE, "Ada", None),
    (form(a={"allOf": [form(x=INTEGER), form(y=INTEGER)]}), "1 2", {"a": {"x": 1, "y": 2}}),
    ({"properties": {"a": INTEGER}, "required": ["a"]}, "7", {"a": 7}),
    ({"type": "object", "properties": {"a": INTEGER, "b": INTEGER}}, "only b: 7", {"b": 7}),
    ({"type": "object", "properties": {}}, "7", {}),
]


@pytest.mark.parametrize(("schema", "text", "wanted"), TABLE)
def test_a_schema_is_filled_from_a_text(schema: Any, text: str, wanted: Any) -> None:
    filled = fill(schema, text)
    Draft202012Validator(schema).validate(filled)
    if wanted is not None:
        assert filled == wanted


@given(st.sampled_from([schema for schema, _, _ in TABLE]), st.text(max_size=200))
def test_whatever_the_text_the_value_is_valid(schema: Any, text: str) -> None:
    Draft202012Validator(schema).validate(fill(schema, text))


@pytest.mark.parametrize(
    "schema",
    [
        form(me={"$ref": "#"}),
        form(me={"$ref": "#/$defs/nowhere"}),
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}]},
        {"allOf": [{"$ref": "#"}]},
        form(a=True),
        form(a={"type": "unheard-of"}),
        {},
    ],
)
def test_a_schema_that_cannot_be_followed_ends_too(schema: Any) -> None:
    fill(schema, "1 and 2 in Rome")


def test_a_long_text_is_filled_from_quickly() -> None:
    text = "Ada is 1 in Bern: '" * 50_000
    assert fill(form(name=TEXT, age=INTEGER), text) == {"name": "Ada", "age": 1}


def test_the_names_of_properties_are_found_at_any_depth() -> None:
    schema = form(a=form(b={"type": "array", "items": form(c=TEXT)}), properties=TEXT)
    assert property_names(schema) == {"a", "b", "c", "properties"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The cats use getWeather", {"cat", "weath"}),
        ("my_adder_tool", {"add"}),
        ("Adding 3", {"add", "3"}),
        ("", set()),
    ],
)
def test_the_words_that_carry_meaning(text: str, found: set[str]) -> None:
    assert words(text) == found


def test_a_clue_is_given_once() -> None:
    clues = Clues("'one' or 'two', 1 or 2")
    assert [clues.phrase() for _ in range(3)] == ["one", "two", None]
    assert [clues.number(lambda _: True) for _ in range(3)] == ["1", "2", None]
