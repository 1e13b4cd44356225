import copy
from dataclasses import replace
from typing import Any

import pytest

from app.answers.output_format import TEXT, Accepted, OutputFormat
from app.api.output_formats import parse_format
from app.errors import InvalidRequest
from tests.fakes.values import each

REQUIRED = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
SCHEMA = "invalid_json_schema"

WHERE = "response_format.json_schema"


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


STRING = {"type": "string"}
OPEN: dict[str, Any] = {"type": "object", "properties": {"a": STRING}}


def wrapped(schema: Any, **members: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, **members}}


@pytest.mark.parametrize("members", [{}, {"strict": True}, {"strict": False}, {"strict": None}])
def test_a_strict_schema_goes_to_the_upstream_asked_for_or_not(members: dict[str, Any]) -> None:
    schema = closed(a=STRING)
    parsed = parse_format(wrapped(schema, **members))
    assert replace(parsed, otherwise=None) == OutputFormat(strict_schema=schema)
    assert (parsed.otherwise is None) is (members.get("strict") is True)


@pytest.mark.parametrize("members", [{"strict": False}, {"strict": None}, {"description": None}])
def test_what_is_null_or_false_is_as_if_it_were_not_there(members: dict[str, Any]) -> None:
    parsed = parse_format(wrapped(OPEN))
    assert (parsed.strict_schema, parsed.schema) == (None, OPEN)
    assert parse_format(wrapped(OPEN, **members)) == parsed


def test_a_schema_that_is_not_strict_is_refused_by_the_name_of_its_field() -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_format(wrapped(OPEN, strict=True))
    assert (raised.value.param, raised.value.code) == (f"{WHERE}.schema", SCHEMA)
    assert raised.value.message.startswith("Invalid schema for response_format 'n', ")


def test_a_description_is_told_to_the_model() -> None:
    parsed = parse_format(wrapped(closed(), description="A city."))
    assert parsed.instruction is None
    assert parsed.strict_schema == {**closed(), "description": "A city."}


def test_text_asks_for_nothing() -> None:
    assert parse_format({"type": "text"}) == TEXT == OutputFormat()
    assert TEXT.accept("anything") == Accepted("anything")


def test_a_json_object_is_an_instruction() -> None:
    parsed = parse_format({"type": "json_object"})
    assert (parsed.strict_schema, parsed.schema) == (None, None)
    assert parsed.instruction == (
        "Answer with one JSON object and nothing else: no prose, no code fence."
    )


@pytest.mark.parametrize("given_format", [wrapped(OPEN), wrapped(closed()), {"type": "text"}])
def test_the_format_is_left_alone(given_format: dict[str, Any]) -> None:
    before = copy.deepcopy(given_format)
    parse_format(given_format)
    assert given_format == before


JSON_SCHEMA = {"type": "json_schema"}
REFUSED: list[tuple[Any, str, str]] = [
    *((given, "response_format", TYPE) for given in each("text", 5, [], True)),
    ({}, "response_format.type", REQUIRED),
    ({"type": None}, "response_format.type", REQUIRED),
    *(
        ({"type": kind}, "response_format.type", VALUE)
        for kind in each("json", "", "grammar", 5, [], {}, ["text"])
    ),
    (JSON_SCHEMA, WHERE, REQUIRED),
    ({**JSON_SCHEMA, "json_schema": None}, WHERE, REQUIRED),
    *(({**JSON_SCHEMA, "json_schema": given}, WHERE, TYPE) for given in each("x", 5, [], True)),
    ({**JSON_SCHEMA, "json_schema": {}}, f"{WHERE}.name", REQUIRED),
    (wrapped({}, name=None), f"{WHERE}.name", REQUIRED),
    *((wrapped({}, name=name), f"{WHERE}.name", TYPE) for name in each(5, [], True)),
    (wrapped(None), f"{WHERE}.schema", REQUIRED),
    *((wrapped(schema), f"{WHERE}.schema", TYPE) for schema in each("{}", 5, [], True)),
    *(
        (wrapped(closed(), strict=strict), f"{WHERE}.strict", TYPE)
        for strict in each("true", 1, [])
    ),
    *((wrapped(closed(), description=d), f"{WHERE}.description", TYPE) for d in each(5, [], True)),
    *(
        (wrapped(schema), f"{WHERE}.schema", SCHEMA)
        for schema in each(
            {"type": "no such type"},
            {"type": 5},
            {"properties": []},
            {"properties": {"a": 5}},
            {"required": "a"},
            {"required": [5]},
            {"items": 5},
            {"minimum": "1"},
            {"minItems": -1},
            {"enum": 5},
            {"anyOf": []},
            {"$ref": 5},
            {"$defs": []},
            {"properties": {"a": {"pattern": 5}}},
            {"items": None},
            {"title": 5},
        )
    ),
]


@pytest.mark.parametrize(("given_format", "param", "code"), REFUSED)
def test_a_refusal_names_the_field(given_format: Any, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_format(given_format)
    assert (raised.value.param, raised.value.code) == (param, code)
    assert len(raised.value.message) < 400
