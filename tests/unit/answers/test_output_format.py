import json
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
    check,
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
    assert parsed == OutputFormat(strict_schema=closed(a=STRING))
    assert parsed.accept("no JSON at all") == Accepted("no JSON at all")  # the upstream sees to it


def test_a_schema_that_is_strict_once_it_is_closed_goes_to_the_upstream() -> None:
    parsed = read(CLOSABLE)
    assert parsed == OutputFormat(strict_schema=closed(a=STRING))
    assert not parsed.is_checked


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
    strict = read(closed(a=STRING), description="A city.")
    assert strict == OutputFormat(closed(a=STRING), "The form of your answer (n): A city.")
    assert not strict.is_checked
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


def test_a_problem_is_short() -> None:
    assert len(str(check({"a": "x" * 10_000}, {"properties": {"a": {"enum": ["y"]}}}))) < 300


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"pattern": "^(x+)+$"}}},
        {"properties": {"a": {"anyOf": [{"pattern": "^(x+)+$"}]}}},
        {"properties": {"a": {"$ref": "#/$defs/k"}}, "$defs": {"k": {"pattern": "^(x+)+$"}}},
        {"properties": {"a": {"items": {"pattern": "^(x+)+$"}}}},
    ],
)
def test_a_pattern_is_never_run(schema: dict[str, Any]) -> None:
    """These take hours where they are run; here the answer passes, as if they were not there."""
    endless = "x" * 64 + "!"
    assert check({"a": endless}, {"type": "object", **schema}) is None
    assert check({"a": [endless]}, {"type": "object", **schema}) is None


@pytest.mark.parametrize(
    "reference",
    [
        "http://127.0.0.1:9/schema.json",
        "https://json-schema.invalid/x",
        "file:///etc/passwd",
        "other.json",
        "#/$defs/none",
        "#anchor",
        "http://[broken",
        "#/properties/a",
    ],
)
def test_a_reference_that_leads_nowhere_is_not_followed(
    reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a reference was fetched")

    monkeypatch.setattr("urllib.request.urlopen", forbidden)
    monkeypatch.setattr("socket.create_connection", forbidden)
    monkeypatch.setattr("builtins.open", forbidden)
    schema = {"type": "object", "properties": {"a": {"$ref": reference}}}
    assert check({"a": 1}, schema) == "its schema cannot be followed"
    assert check({}, schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{}], "$ref": "#/allOf/name"},
        {"allOf": [{}], "$ref": f"#/allOf/{'9' * 5000}"},
        {"$id": "//[", "allOf": [{"$id": "x"}]},
    ],
)
def test_a_reference_that_makes_no_sense_is_not_followed(schema: dict[str, Any]) -> None:
    assert check({}, schema) == "its schema cannot be followed"


def test_a_schema_that_never_ends_is_given_up() -> None:
    forever = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#"}}}
    assert check({}, forever) == "its schema cannot be followed"


def test_an_answer_as_deep_as_json_can_be_is_given_up_or_checked() -> None:
    answer: Any = {"name": "Ann"}
    for _ in range(300):
        answer = {"name": "Ann", "friends": [answer]}
    assert check(answer, PERSON) in {None, "its schema cannot be followed"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_answer_is_checked_as_a_plain_reading_of_the_schema_would(value: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "null"}}},
        "required": ["a"],
    }
    fits = (
        isinstance(value, dict)
        and isinstance(value.get("a"), str)
        and isinstance(value.get("b", []), list)
        and all(entry is None for entry in value.get("b", []))
    )
    assert (check(value, schema) is None) is fits


def test_a_long_answer_is_checked_to_its_end() -> None:
    schema = {"items": {"type": "object", "properties": {"a": {"type": "string"}}}}
    rows: list[Any] = [{"a": "x"}] * 5000
    assert check(rows, schema) is None
    assert str(check([*rows, {"a": 1}], schema)).startswith("at $[5000].a: ")


def test_a_long_check_of_what_says_nothing_is_given_up_too() -> None:
    assert check([0] * 100_000, {"allOf": [{"items": {}}] * 10}) == "its schema cannot be followed"


def test_errors_that_quote_a_long_answer_are_given_up() -> None:
    """Each of the alternatives would quote it: a second and more of writing."""
    schema = {"anyOf": [{"type": "string"}] * 4000}
    assert check({"a": "x" * 1_000_000}, schema) == "its schema cannot be followed"
