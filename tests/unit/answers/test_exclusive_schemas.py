from __future__ import annotations

from typing import Any

import pytest

from app.answers.exclusive_schemas import are_exclusive

STRING = {"type": "string"}


def kind(*names: str, **more: Any) -> dict[str, Any]:
    member = {"const": names[0]} if len(names) == 1 else {"enum": list(names)}
    return {"type": "object", "properties": {"kind": member}, "required": ["kind"], **more}


@pytest.mark.parametrize(
    "alternatives",
    [
        [STRING],
        [STRING, {"type": "null"}, {"type": "integer"}, {"type": "array"}, {"type": "object"}],
        [{"const": "a"}, {"const": "b"}, {"type": "string", "enum": ["c", "d"]}],
        [kind("a"), kind("b", "c"), {"type": "null"}],
        [kind("a", title="A"), kind("b", additionalProperties=False)],
    ],
)
def test_some_exclude_each_other(alternatives: list[Any]) -> None:
    assert are_exclusive(alternatives)


@pytest.mark.parametrize(
    "alternatives",
    [
        [STRING, STRING],
        [{"type": "integer"}, {"type": "number"}],
        [{"type": ["string", "null"]}, {"type": "null"}],
        [{}, STRING],
        [True, STRING],
        [None, STRING],
        [{"$ref": "#"}, STRING],
        [{"const": "a"}, {"enum": ["b", "a"]}],
        [{"const": "a"}, STRING],
        [{"const": 1}, {"const": True}],
        [{"type": "object"}, {"type": "object"}],
        [kind("a"), kind("b", "a")],
        [kind("a"), kind("b", required=[])],
        [kind("a"), {"type": "object", "required": ["kind"]}],
        [kind("a"), {"type": "object", "required": ["kind"], "properties": {"kind": STRING}}],
        [{"type": "array", "items": STRING}, {"type": "array", "items": {"type": "null"}}],
    ],
)
def test_of_others_it_is_not_certain(alternatives: list[Any]) -> None:
    assert not are_exclusive(alternatives)
