"""The response object: what of a request it repeats, in OpenAI's own shapes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response
from pydantic import TypeAdapter

from tests.unit.api.responses.answers import TOOLS, heading, strict

RESPONSE: TypeAdapter[Response] = TypeAdapter(Response)
MEMBERS = {
    *("id", "object", "created_at", "status", "background", "completed_at", "error", "usage"),
    *("frequency_penalty", "incomplete_details", "instructions", "max_output_tokens", "user"),
    *("max_tool_calls", "metadata", "model", "output", "parallel_tool_calls", "store", "tools"),
    *("presence_penalty", "previous_response_id", "prompt_cache_key", "prompt_cache_retention"),
    *("reasoning", "safety_identifier", "service_tier", "temperature", "text", "tool_choice"),
    *("top_logprobs", "top_p", "truncation"),
}
SCHEMA = {"type": "object", "properties": {}}


def repeated(name: str, **body: Any) -> Any:
    begun = heading(**body).begun()
    strict(RESPONSE, begun)
    assert set(begun) == MEMBERS
    return begun[name]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "auto"),
        ({"tool_choice": None}, "auto"),
        ({"tool_choice": "required"}, "required"),
        ({"tool_choice": {"type": "none"}}, "none"),
        ({"tool_choice": {"type": "function", "name": "f"}}, {"type": "function", "name": "f"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"type": "function", "name": "f"},
        ),
        ({"tool_choice": {"type": "custom", "name": "p"}}, {"type": "custom", "name": "p"}),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "name": "f"}],
                    },
                }
            },
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            },
        ),
    ],
)
def test_a_choice_is_repeated_without_wrappers(body: dict[str, Any], expected: Any) -> None:
    assert repeated("tool_choice", **body) == expected


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (
            {"type": "function", "name": "f"},
            {
                "type": "function",
                "name": "f",
                "description": None,
                "parameters": None,
                "strict": None,
            },
        ),
        (
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}},
            {
                "type": "function",
                "name": "f",
                "description": None,
                "parameters": SCHEMA,
                "strict": True,
            },
        ),
        (
            {"type": "custom", "name": "p", "format": {"type": "text"}},
            {"type": "custom", "name": "p", "format": {"type": "text"}},
        ),
        (TOOLS[2], {"description": "", **TOOLS[2]}),
        ({"type": "web_search"}, {"type": "web_search"}),
    ],
)
def test_a_tool_is_repeated_with_every_member(tool: dict[str, Any], expected: Any) -> None:
    assert repeated("tools", tools=[tool]) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {"format": {"type": "text"}, "verbosity": "medium"}),
        ({"format": None}, {"format": {"type": "text"}, "verbosity": "medium"}),
        (
            {"format": {"type": "json_object"}, "verbosity": "low"},
            {"format": {"type": "json_object"}, "verbosity": "low"},
        ),
        (
            {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": None}},
            {
                "format": {
                    "type": "json_schema",
                    "name": "n",
                    "schema": SCHEMA,
                    "description": None,
                    "strict": False,
                },
                "verbosity": "medium",
            },
        ),
    ],
)
def test_the_form_of_the_text_is_repeated(text: Any, expected: Any) -> None:
    assert repeated("text", text=text) == expected


@pytest.mark.parametrize("summary", [None, "auto", "concise", "detailed"])
def test_the_summary_that_is_asked_for_is_repeated(summary: str | None) -> None:
    for name in ("summary", "generate_summary"):
        found = repeated("reasoning", reasoning={name: summary})
        assert found == {"effort": "low", "summary": summary}


def test_no_summary_is_no_word_of_openai() -> None:
    assert repeated("reasoning", reasoning={"summary": "none"})["summary"] is None


@pytest.mark.parametrize(
    ("tier", "expected"),
    [(None, "default"), ("auto", "default"), ("scale", "default"), ("flex", "flex")],
)
def test_the_tier_is_the_one_that_is_asked_of_codex(tier: str | None, expected: str) -> None:
    assert repeated("service_tier", service_tier=tier) == expected
    assert repeated("service_tier", service_tier="fast") == "priority"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("instructions", "Be brief."),
        ("max_output_tokens", 5),
        ("max_tool_calls", 3),
        ("metadata", {"a": "b"}),
        ("parallel_tool_calls", False),
        ("prompt_cache_key", "k"),
        ("safety_identifier", "s"),
        ("store", False),
        ("temperature", 0.5),
        ("top_p", 1),
        ("presence_penalty", 1.5),
        ("frequency_penalty", -1),
        ("user", "u"),
    ],
)
def test_what_is_given_is_repeated(name: str, value: Any) -> None:
    assert repeated(name, **{name: value}) == value


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(1, 20_000))
def test_a_long_text_is_repeated_as_it_is(words: str, times: int) -> None:
    text = words * times
    begun = heading(instructions=text).begun()
    assert orjson.loads(orjson.dumps(begun))["instructions"] == text


def test_a_long_text_is_written_once_and_in_one_line() -> None:
    begun = heading(instructions="a\u2028\x85" * 10_000).begun()
    found = orjson.dumps(begun)
    assert b"\\u2028" in found
    assert "\u2028".encode() not in found
    assert "\x85".encode() not in found
