import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.output_format import (
    JSON_OBJECT,
    Accepted,
    FormatFields,
    OutputFormat,
    Problem,
    from_schema,
)
from app.errors import InvalidRequest

FIELDS = FormatFields("text.format", "text.format.schema")


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


STRING = {"type": "string"}
OPEN: dict[str, Any] = {"type": "object", "properties": {"a": STRING}}


def read(schema: Any, *, strict: bool = False, description: str = "") -> OutputFormat:
    return from_schema("n", schema, strict=strict, description=description, fields=FIELDS)


# Which schemas go where; which ones are strict is in test_strict_schema.py

CLOSABLE: dict[str, Any] = {"type": "object", "properties": {"a": STRING}, "required": ["a"]}


@pytest.mark.parametrize("strict", [True, False])
def test_a_strict_schema_goes_to_the_upstream(strict: bool) -> None:
    parsed = read(closed(a=STRING), strict=strict)
    assert replace(parsed, otherwise=None) == OutputFormat(strict_schema=closed(a=STRING))
    assert parsed.accept("no JSON at all") == Accepted("no JSON at all")  # the upstream sees to it


def test_a_schema_that_is_strict_once_it_is_closed_goes_to_the_upstream() -> None:
    parsed = read(CLOSABLE)
    assert parsed.strict_schema == closed(a=STRING)
    assert not parsed.is_checked
    assert parsed.otherwise is not None  # should that upstream not take it
    assert parsed.otherwise.schema == CLOSABLE
    assert parsed.otherwise.is_checked


@pytest.mark.parametrize(
    ("schema", "word"), [(OPEN, "object"), ({"type": "array"}, "value"), ({}, "value")]
)
def test_any_other_schema_becomes_an_instruction(schema: dict[str, Any], word: str) -> None:
    parsed = read(schema)
    assert (parsed.strict_schema, parsed.schema) == (None, schema)
    assert parsed.instruction is not None
    told, _, written = parsed.instruction.partition(" It must follow this JSON schema (n): ")
    assert told == f"Answer with one JSON {word} and nothing else: no prose, no code fence."
    assert json.loads(written) == schema


@pytest.mark.parametrize("schema", [OPEN, CLOSABLE, {"type": "array"}])
def test_who_asks_for_strict_gets_it_or_a_refusal(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(schema, strict=True)
    assert (raised.value.param, raised.value.code) == ("text.format.schema", "invalid_json_schema")
    assert raised.value.message.startswith("Invalid schema for text.format 'n', ")


@pytest.mark.parametrize("schema", [closed(a={**STRING, "nullable": True}), {**OPEN, "x-y": 1}])
def test_keywords_without_effect_are_told(schema: dict[str, Any]) -> None:
    word = "x-y" if "x-y" in schema else "nullable"
    assert read(schema).ignored == (f"text.format.schema.{word}",)


def test_what_a_form_is_for_is_told_to_the_model() -> None:
    strict = read(closed(a=STRING), strict=True, description="A city.")
    assert strict == OutputFormat({**closed(a=STRING), "description": "A city."})
    assert not strict.is_checked
    own = {**closed(a=STRING), "description": "Its own."}
    said = read(own, strict=True, description="A city.")
    assert said == OutputFormat(own, "The form of your answer (n): A city.")
    assert strict.accept("no JSON at all") == Accepted("no JSON at all")
    loose = read(OPEN, description="A city.")
    order = read(OPEN).instruction
    assert loose.instruction == f"The form of your answer (n): A city.\n{order}"
    assert loose.is_checked
    assert read(OPEN, description="").instruction == order


# Checking


@pytest.mark.parametrize("text", ["{}", ' {"a": [1, null]}\n', '{"a": "é"}'])
def test_one_object_is_what_was_asked_for(text: str) -> None:
    assert JSON_OBJECT.accept(text) == Accepted(text)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ("```json\n{}\n```", "{}"),
        ('Here it is: {"a" :1.0} I hope that helps.', '{"a" :1.0}'),
    ],
)
def test_the_only_object_in_a_text_is_the_answer(text: str, taken: str) -> None:
    assert JSON_OBJECT.accept(text) == Accepted(taken)
    assert read(OPEN | {"properties": {"a": {"type": "number"}}}).accept(text) == Accepted(taken)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is not valid JSON"),
        ("hello", "it is not valid JSON"),
        ("{} {}", "it is not valid JSON"),
        ('{"a": 1} {"a": 1}', "it is not valid JSON"),
        ('{"a": 1', "it is not valid JSON"),
        ('{"a": NaN}', "it is not valid JSON"),
        ("{'a': 1}", "it is not valid JSON"),
        ("[" * 5000, "it is not valid JSON"),
        ("Here: [1]", "it is not valid JSON"),
        ("[]", "it is not a JSON object"),
        ('"{}"', "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        ("5", "it is not a JSON object"),
    ],
)
def test_what_is_wrong_with_an_object_is_said(text: str, problem: str) -> None:
    assert JSON_OBJECT.accept(text) == Problem(problem)


@given(st.text())
def test_any_text_is_some_answer(text: str) -> None:
    for form in (JSON_OBJECT, read(OPEN)):
        verdict = form.accept(text)
        assert verdict.text in text if isinstance(verdict, Accepted) else verdict.sentence


def test_what_is_taken_out_is_checked() -> None:
    assert read(OPEN).accept('So: {"a": 5}.') == Problem("at $.a: 5 is not of type 'string'")


@pytest.mark.parametrize(
    ("schema", "text", "taken"),
    [
        ({"type": "integer"}, "```\n42\n```", "42"),
        ({"type": ["string", "null"]}, "```json\nnull\n```", "null"),
        ({"enum": [True]}, "```\ntrue\n```", "true"),
        ({"type": "array"}, "They are [1, 2]; see {x}.", "[1, 2]"),
    ],
)
def test_an_answer_need_not_be_an_object(schema: dict[str, Any], text: str, taken: str) -> None:
    assert read(schema).accept(text) == Accepted(taken)


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "age": {"type": "integer", "minimum": 0},
        "friends": {"type": "array", "items": {"$ref": "#"}},
        "kind": {"$ref": "#/$defs/kind"},
    },
    "required": ["name"],
    "$defs": {"kind": {"enum": ["a", "b"]}},
}


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ({"name": "Ann"}, None),
        ({"name": "Ann", "more": 1}, None),
        ({"name": "Ann", "friends": [{"name": "Bob", "friends": [{"name": "Cem"}]}]}, None),
        ({"name": "Ann", "kind": "a"}, None),
        ([], "$"),
        ({}, "$"),
        ({"name": 5}, "$.name"),
        ({"name": "A"}, "$.name"),
        ({"name": "Ann", "age": -1}, "$.age"),
        ({"name": "Ann", "age": 1.5}, "$.age"),
        ({"name": "Ann", "kind": "c"}, "$.kind"),
        ({"name": "Ann", "friends": [{"name": "Bob", "friends": [{}]}]}, "$.friends[0].friends[0]"),
    ],
)
def test_an_answer_is_held_against_its_schema(answer: Any, where: str | None) -> None:
    text = json.dumps(answer)
    verdict = read(PERSON).accept(text)
    if where is None:
        assert verdict == Accepted(text)
    else:
        assert isinstance(verdict, Problem)
        assert verdict.sentence.startswith(f"at {where}: ")
