from __future__ import annotations

from typing import Any

import pytest

from app.answers.schema_keywords import ENFORCED, REFUSED, SILENT, unknown_annotations

WORD = {"x-a": 1}


@pytest.mark.parametrize(
    "schema",
    [
        WORD,
        {"properties": {"a": WORD}},
        {"$defs": {"a": WORD}},
        {"definitions": {"a": {"items": WORD}}},
        {"anyOf": [{}, WORD]},
        {"oneOf": [WORD], "allOf": [WORD, True]},
        {"prefixItems": [WORD]},
        {"additionalProperties": WORD},
        {"not": {"if": WORD}},
    ],
)
def test_a_keyword_that_nobody_knows_is_found_anywhere(schema: dict[str, Any]) -> None:
    assert unknown_annotations(schema) == ("x-a",)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": {"x-a": {}}, "required": ["x-a"]},
        {"enum": [WORD], "const": WORD, "default": WORD, "examples": [WORD]},
        {"format": "date"},
        dict.fromkeys(SILENT, "x"),
    ],
)
def test_nothing_else_is_told(schema: dict[str, Any]) -> None:
    assert unknown_annotations(schema) == ()


def test_a_format_that_nobody_enforces_is_told() -> None:
    assert unknown_annotations({"format": "uri", "items": {"format": "date"}}) == ("format",)


def test_names_are_few_short_sorted_and_each_there_once() -> None:
    names = [f"{index:02}{'x' * 99}" for index in range(99)]
    found = unknown_annotations({**dict.fromkeys(names), "items": dict.fromkeys(names)})
    assert found == tuple(name[:64] for name in names[:10])


def test_a_keyword_is_of_one_kind() -> None:
    assert not ENFORCED & REFUSED
    assert not SILENT & (ENFORCED | REFUSED)
