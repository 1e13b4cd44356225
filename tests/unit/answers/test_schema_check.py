import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.schema_check import check

GIVEN_UP = "its schema cannot be followed"

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "friends": {"type": "array", "items": {"$ref": "#"}},
    },
    "required": ["name"],
}


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
    assert check({"a": 1}, schema) == GIVEN_UP
    assert check({}, schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{}], "$ref": "#/allOf/name"},
        {"allOf": [{}], "$ref": f"#/allOf/{'9' * 5000}"},
    ],
)
def test_a_reference_that_makes_no_sense_is_not_followed(schema: dict[str, Any]) -> None:
    assert check({}, schema) == GIVEN_UP


def test_a_schema_that_never_ends_is_given_up() -> None:
    forever = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#"}}}
    assert check({}, forever) == GIVEN_UP


@pytest.mark.parametrize(("depth", "result"), [(30, None), (300, GIVEN_UP)])
def test_an_answer_is_checked_down_to_some_depth(depth: int, result: str | None) -> None:
    answer: Any = {"name": "Ann"}
    for _ in range(depth):
        answer = {"name": "Ann", "friends": [answer]}
    assert check(answer, PERSON) == result


def test_what_is_wrong_far_down_is_found() -> None:
    answer: Any = {"name": 1}
    for _ in range(30):
        answer = {"name": "Ann", "friends": [{"name": "Bob"}, answer]}
    assert str(check(answer, PERSON)).endswith("1 is not of type 'string'")


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
    assert check([0] * 100_000, {"allOf": [{"items": {}}] * 10}) == GIVEN_UP


def test_errors_that_quote_a_long_answer_are_given_up() -> None:
    """Each of the alternatives would quote it: a second and more of writing."""
    schema = {"anyOf": [{"type": "string"}] * 4000}
    assert check({"a": "x" * 1_000_000}, schema) == GIVEN_UP


NAMES = [f"n{number}" for number in range(4_900)]


def nested(depth: int, schema: dict[str, Any]) -> dict[str, Any]:
    for _ in range(depth):
        schema = {"allOf": [schema]}
    return schema


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        # References by id: each was looked for in all of the schema.
        (
            {
                "allOf": [{"$ref": f"{number}.json"} for number in range(800)],
                "$defs": {n: {"$id": f"{n}.json", "type": "object"} for n in map(str, range(800))},
            },
            {},
        ),
        # Members that are no keywords: each was looked at for every entry.
        ({"items": {**dict.fromkeys(NAMES, 1), "type": "integer"}}, [1] * 40_000),
        ({"items": {"$ref": "#/x"}, "x": dict.fromkeys(NAMES, 1)}, [1] * 40_000),
        ({"items": {"enum": [[[0] * 400 + [n]] for n in range(100)]}}, [[[0] * 401]] * 40_000),
        ({"items": {"dependentRequired": {"a": NAMES}}}, [dict.fromkeys(["a", *NAMES])] * 1_000),
        ({"anyOf": [{"required": NAMES} for _ in range(9)]}, {}),
        (nested(28, {"required": NAMES}), {}),
    ],
    ids=["ids", "no-keywords", "behind-a-reference", "enum", "dependent", "missing", "passed-up"],
)
def test_work_is_bounded_whatever_it_is(schema: dict[str, Any], answer: Any) -> None:
    """A second at most, and usually less; the first two took 40 seconds when only keywords were counted."""
    begun = time.thread_time()
    check(answer, schema)
    assert time.thread_time() - begun < 10


def test_alternatives_of_alternatives_are_given_up() -> None:
    twice = {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**twice, "a60": {"type": "string"}}}
    assert check({}, schema) == GIVEN_UP


@pytest.mark.parametrize(
    ("reference", "definitions"),
    [
        ("#/$defs/a~1b", {"a/b": {"type": "string"}}),
        ("#/%24defs/a%20b", {"a b": {"type": "string"}}),
        ("#/$defs/list/anyOf/1", {"list": {"anyOf": [{}, {"type": "string"}]}}),
        ("#/$defs/all", {"all": {"$id": "https://example.org/all", "type": "string"}}),
    ],
)
def test_a_reference_is_a_path_into_the_schema(reference: str, definitions: dict[str, Any]) -> None:
    schema = {"$ref": reference, "$defs": definitions}
    assert check("x", schema) is None
    assert check(1, schema) == "at $: 1 is not of type 'string'"


def test_names_of_properties_are_no_keywords() -> None:
    schema = {"properties": {"$id": {"type": "integer"}, "pattern": {"type": "integer"}}}
    assert check({"$id": 1, "pattern": 1}, schema) is None
    assert str(check({"pattern": "x"}, schema)).startswith("at $.pattern: ")
