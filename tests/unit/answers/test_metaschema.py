"""The walk says of any schema what the metaschema itself would say."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.answers.metaschema import ALL, READ_BY_CODEX, first_violation

# Their texts have a form, too, which nothing here depends on.
WITH_A_FORM = {"$id", "$schema", "$anchor", "$dynamicAnchor"}
KEYWORDS = sorted({*ALL, "const", "default", "brandNew"} - WITH_A_FORM)
WORDS = st.sampled_from(["object", "string", "a", "b", ""])
PLAIN = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from([0.5, 1.0]) | WORDS
VALUES = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(WORDS, PLAIN, max_size=2)
SCHEMAS = st.recursive(
    st.just({}) | st.booleans() | st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(KEYWORDS),
        inner | st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2) | VALUES,
        max_size=3,
    ),
    max_leaves=6,
)
METASCHEMA = Draft202012Validator(Draft202012Validator.META_SCHEMA)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCHEMAS)
def test_any_schema_is_judged_as_the_metaschema_would(schema: Any) -> None:
    assert (first_violation(schema, "s", ALL) is None) is METASCHEMA.is_valid(schema)


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -1, 1.0, 1.5, "", "object", "nope", {}, {"a": 5}, {"a": {}}, {"a": ["b"]}),
        *([], [5], ["a"], ["a", "a"], ["object"], ["object", "null"], [{}], [True], [None]),
        *({"a": ["b", "b"]}, {"a": {"type": 5}}, [{"type": 5}], {"type": 5}),
    ],
)
def test_every_keyword_is_judged_as_the_metaschema_would(keyword: str, value: Any) -> None:
    schema = {keyword: value}
    assert (first_violation(schema, "s", ALL) is None) is METASCHEMA.is_valid(schema)


def test_the_place_is_named_and_what_may_stand_there() -> None:
    schema = {"$defs": {"n": {"anyOf": [{}, {"items": {"x" * 99: 5, "minItems": -1}}]}}}
    expected = ("s.$defs.n.anyOf[1].items.minItems", "an integer, 0 or more")
    assert (
        first_violation(schema, "s", ALL) == first_violation(schema, "s", READ_BY_CODEX) == expected
    )
    assert first_violation({"properties": {"x" * 99: 5}}, "s", ALL) == (
        f"s.properties.{'x' * 64}",
        "a schema (an object)",
    )


def test_what_codex_takes_is_not_looked_at_more_closely() -> None:
    schema = {"type": "any", "anyOf": [], "required": ["a", "a"], "pattern": 5, "minItems": None}
    assert first_violation(schema, "s", READ_BY_CODEX, null_is_absent=True) is None
    assert first_violation(schema, "s", ALL) is not None
