"""What is said of a schema that is not strict; which ones are is in test_output_format.py."""

from __future__ import annotations

from typing import Any

import pytest

from app.answers.strict_schema import why_not_strict

STRING = {"type": "string"}
ALL = "it must name all properties and no others."


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


OPEN = {"type": "object", "properties": {}}
OPTIONAL = closed(a=STRING, b=STRING) | {"required": ["a"]}


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"type": "array"}, "'s' must be an object, and not one of several ('anyOf')."),
        ({**closed(), "anyOf": []}, "'s' must be an object, and not one of several ('anyOf')."),
        (OPEN, "'additionalProperties' must be false in 's'."),
        ({**OPEN, "additionalProperties": True}, "'additionalProperties' must be false in 's'."),
        (OPTIONAL, f"'b' is missing from 'required' in 's'; {ALL}"),
        (
            closed() | {"required": ["x"]},
            f"'x' is no property, but in 'required' in 's'; {ALL}",
        ),
        (closed(a={**STRING, "minLength": 1}), "'minLength' is not supported in 's.properties.a'."),
        (closed(a=True), "'s.properties.a' must be an object that describes a type."),
        (
            closed(a={"type": "array", "items": OPTIONAL}),
            f"'b' is missing from 'required' in 's.properties.a.items'; {ALL}",
        ),
        (
            closed(a={"anyOf": [{"type": "null"}, OPEN]}),
            "'additionalProperties' must be false in 's.properties.a.anyOf[1]'.",
        ),
        (closed() | {"$defs": {"d": OPEN}}, "'additionalProperties' must be false in 's.$defs.d'."),
        (
            closed() | {"definitions": {"d": {"not": {}}}},
            "'not' is not supported in 's.definitions.d'.",
        ),
        (closed(**{"n" * 99: True}), f"'s.properties.{'n' * 64}' must be an object that describes"),
    ],
)
def test_the_place_and_the_name_are_told(schema: dict[str, Any], sentence: str) -> None:
    assert (why_not_strict(schema, "s") or "").startswith(sentence)


def test_nothing_is_said_of_a_strict_one() -> None:
    assert why_not_strict(closed(a=STRING, b=closed()), "s") is None
