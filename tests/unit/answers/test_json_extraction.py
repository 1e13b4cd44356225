"""Which text is the answer in a text that holds more; what is done with it is in test_output_format.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.json_extraction import ANY_KIND, only_value

OBJECTS = frozenset({"object"})


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (' {"a": 1}\n', ' {"a": 1}\n'),
        ('\ufeff{"a": 1}', '{"a": 1}'),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\n{"a": 1}\n```\n', '{"a": 1}'),
        ('```JSON\r\n{"a": 1}\r\n```', '{"a": 1}'),
        ('```json {"a": 1}```', '{"a": 1}'),
        ('```json\n{"a": 1}', '{"a": 1}'),
        ('~~~json\n{"a": 1}\n~~~', '{"a": 1}'),
        ("Sure:\n```json\n{}\n```\nBye.", "{}"),
        ('Sure! {"a": 1} Bye.', '{"a": 1}'),
        ('{\n  "a" : [ 1.0, "é" ] }!', '{\n  "a" : [ 1.0, "é" ] }'),
        ('{"a": "}{\\"}"} it is', '{"a": "}{\\"}"}'),
        ('Put "{name}" into {this}: {"a": 1}', '{"a": 1}'),
        ('f() {} gives {"a": 1}', '{"a": 1}'),
        ('As in [1]: {"a": 1}', '{"a": 1}'),
        ('Not {"a": ...} but {"a": 1}', '{"a": 1}'),
        ('{"a": {"b": [{}]}} .', '{"a": {"b": [{}]}}'),
        ('It\'s "so: {"a": 1}', '{"a": 1}'),
        ('{"a": "```"} .', '{"a": "```"}'),
    ],
)
def test_the_only_object_is_found(text: str, taken: str) -> None:
    found = only_value(text, OBJECTS)
    assert found is not None
    assert (found.text, found.value) == (taken, json.loads(taken))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        '{"a": 1} {"b": 2}',
        '{"a": 1}\n{"a": 1}',
        '```json\n{"a": 1}\n```\n```json\n{"a": 2}\n```',
        'Like {"a": 1}:\n```json\n{"a": 2}\n```',
        'Like {"a": 1}:\n```json\n{}\n```',
        '[{"a": 1}] .',
        '{"a": {"b": 1}',
        '{"a": {"b": 1}, "c": "x',
        'So: [{"a": 1}, {"b"',
        '{"a": NaN} .',
        "{'a': 1} .",
        '{"a": 1,} .',
        "Use f() {} here.",
        "```json\n5\n```",
        '{"a": ' * 2000,
        "x {" + '"a": {' * 2000 + "}" * 2001,
    ],
)
def test_where_there_could_be_another_answer_there_is_none(text: str) -> None:
    assert only_value(text, OBJECTS) is None


@pytest.mark.parametrize(
    ("text", "kinds", "taken"),
    [
        ("```\n42\n```", {"integer"}, "42"),
        ("```\n42\n```", {"number"}, "42"),
        ("```\n4.0\n```", {"integer"}, "4.0"),
        ("```\n4.5\n```", {"integer"}, None),
        ("```json\ntrue\n```", {"boolean"}, "true"),
        ("```json\ntrue\n```", {"integer"}, None),
        ("```null```", {"null"}, "null"),
        ('```\n"x"\n```', {"string"}, '"x"'),
        ("It is 42.", {"integer"}, None),
        ("They are [1, 2].", {"array"}, "[1, 2]"),
        ("They are [1, 2].", ANY_KIND, "[1, 2]"),
        ("They are [1, 2] of 12 [sic].", {"array"}, "[1, 2]"),
        ('As in [1]: {"a": 1}', ANY_KIND, None),
        ('{"a": 1}\n```\n5\n```', ANY_KIND, None),
    ],
)
def test_other_kinds_are_found_where_they_may_be_the_answer(
    text: str, kinds: set[str], taken: str | None
) -> None:
    found = only_value(text, frozenset(kinds))
    assert (found and found.text) == taken


def test_whole_json_is_whole_whatever_its_kind() -> None:
    found = only_value("[5]", OBJECTS)
    assert found is not None
    assert found.value == [5]


def test_a_text_has_a_longest_length_beyond_which_it_must_be_json() -> None:
    filling = "x" * (1 << 20)
    assert only_value(f'{filling} {{"a": 1}}', OBJECTS) is None
    assert only_value(json.dumps({"a": filling}), OBJECTS) is not None


def test_a_text_has_a_highest_number_of_values_beyond_which_it_is_not_read() -> None:
    assert only_value(json.dumps([1] * 90_000)) is not None
    assert only_value(json.dumps([1] * 110_000)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('a"\\{}[]`', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('b"}', max_size=2), inner),
    max_leaves=8,
)
PROSE = st.text("ab .,:!?'\n", max_size=20)


@given(st.dictionaries(st.text('c"{', max_size=3), JSON, min_size=1), PROSE, PROSE)
def test_any_object_is_found_between_any_sentences(
    value: dict[str, object], before: str, behind: str
) -> None:
    written = json.dumps(value)
    for text in (f"{before}{written}{behind}", f"{before}\n```json\n{written}\n```{behind}"):
        found = only_value(text, OBJECTS)
        assert found is not None
        assert found.value == value


@given(st.text('{}[]",:1a`\\ \n', max_size=40))
def test_what_is_found_is_json_and_stands_there(text: str) -> None:
    found = only_value(text)
    assert found is None or (found.text in text and json.loads(found.text) == found.value)
