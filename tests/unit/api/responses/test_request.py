"""A body into what is asked of codex: fields that are honoured, named as ignored, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.responses.request import ResponseRequest, parse_body, to_request
from app.backend.request import developer_item
from app.errors import InvalidRequest

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
F = {"type": "function", "name": "f"}


def read(**members: Any) -> ResponseRequest:
    return to_request(parse_body({"model": "m", "input": "hi", **members}))


def test_the_smallest_request() -> None:
    request = read()
    (item,) = request.items
    assert item["content"] == [{"type": "input_text", "text": "hi"}]
    assert (request.model, request.effort, request.summary) == ("m", None, None)
    assert (request.service_tier, request.verbosity, request.output_schema) == (None, None, None)
    assert (request.stream, request.ignored, request.dynamic_tools) == (False, (), ())
    assert request.body.is_stored
    assert request.body.previous_id is None
    assert request.constraints.max_tokens is None
    assert request.constraints.parallel_calls


def test_instructions_come_first() -> None:
    assert read(instructions="i").items[0] == developer_item("i")
    assert len(read(instructions="").items) == 1


@pytest.mark.parametrize(
    ("members", "name", "expected"),
    [
        ({"reasoning": {"effort": "none"}}, "effort", "none"),
        ({"reasoning": {"summary": "auto"}}, "summary", "auto"),
        ({"reasoning": {"generate_summary": "concise"}}, "summary", "concise"),
        ({"service_tier": "fast"}, "service_tier", "priority"),
        ({"service_tier": "default"}, "service_tier", None),
        ({"text": {"verbosity": "low"}}, "verbosity", "low"),
        ({"stream": True}, "stream", True),
    ],
)
def test_what_codex_honours_is_asked_of_it(members: Any, name: str, expected: Any) -> None:
    request = read(**members)
    assert getattr(request, name) == expected
    assert request.ignored == ()


@pytest.mark.parametrize(
    ("members", "name", "expected"),
    [
        ({"max_output_tokens": 3}, "max_tokens", 3),
        ({"parallel_tool_calls": False}, "parallel_calls", False),
        ({"tools": [F]}, "offers_tools", True),
        ({"tools": [F], "tool_choice": "none"}, "offers_tools", False),
        ({"tools": [F], "tool_choice": "required"}, "requires_tool", True),
    ],
)
def test_what_codex_has_no_way_to_do_is_done_here(members: Any, name: str, expected: Any) -> None:
    assert getattr(read(**members).constraints, name) == expected


@pytest.mark.parametrize(
    ("members", "ignored"),
    [
        ({"temperature": 1, "top_p": 1, "presence_penalty": 0, "truncation": "disabled"}, ()),
        ({"temperature": 1.0, "context_management": []}, ()),
        ({"temperature": 0.2, "seed": 1}, ("temperature", "seed")),
        ({"truncation": "auto"}, ("truncation",)),
        ({"service_tier": "scale"}, ("service_tier",)),
        ({"client_metadata": {}}, ("client_metadata",)),
        ({"unknown": 1}, ("unknown",)),
        ({"reasoning": {"context": "auto"}}, ()),
        ({"reasoning": {"context": "all_turns"}}, ("reasoning.context",)),
        ({"stream_options": {"include_obfuscation": False}}, ()),
        ({"tools": [{**F, "strict": None}]}, ()),
        ({"tools": [{**F, "strict": False, "defer_loading": False}]}, ()),
        ({"tools": [{**F, "strict": True}]}, ("tools.strict",)),
        ({"tools": [{"type": "web_search"}]}, ("tools.web_search",)),
        ({"input": [{"role": "user", "content": "a", "name": "b"}]}, ("input.name",)),
        (
            {"input": [{"type": "message", "role": "user", "content": "a", "status": "x"}]},
            (),
        ),
    ],
)
def test_what_has_no_effect_is_named(members: Any, ignored: tuple[str, ...]) -> None:
    assert read(**members).ignored == ignored


@pytest.mark.parametrize(
    ("name", "harmless"), [("background", False), ("top_logprobs", 0), ("conversation", None)]
)
def test_what_asks_for_nothing_is_not_refused(name: str, harmless: Any) -> None:
    assert read(**{name: harmless}).ignored == ()


def test_the_form_of_the_answer() -> None:
    form = {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}
    request = read(text={"format": form})
    assert request.output_schema == SCHEMA
    request = read(text={"format": {"type": "json_object"}})
    assert request.output_schema is None
    assert request.constraints.is_structured
    assert len(request.instructions) == 1


def test_what_was_before_stands_between_instructions_and_input() -> None:
    before = [
        {"type": "message", "role": "user", "content": "a"},
        {"type": "message", "role": "assistant", "content": "b"},
    ]
    body = parse_body(
        {"model": "m", "input": "c", "instructions": "i", "previous_response_id": "resp_1"}
    )
    assert body.previous_id == "resp_1"
    request = to_request(body, before)
    texts = [item["content"][0]["text"] for item in request.items]
    assert texts == ["i", "a", "b", "c"]


def test_a_continued_request_needs_no_input() -> None:
    parse_body({"model": "m", "previous_response_id": "resp_1"})
    parse_body({"model": "m", "previous_response_id": "resp_1", "input": []})


@pytest.mark.parametrize(
    ("item", "references"),
    [
        ({"type": "item_reference", "id": "a"}, ["a"]),
        ({"id": "a"}, ["a"]),
        ({"type": None, "id": "a"}, ["a"]),
        ({"type": "reasoning", "id": "a", "summary": []}, ["a"]),
        ({"type": "reasoning", "id": "a", "encrypted_content": "x"}, []),
        ({"type": "message", "id": "a", "role": "user", "content": "x"}, []),
        ({"type": "item_reference", "id": 5}, []),
        ({"type": ["item_reference"], "id": "a", "x": 1}, []),
        ("odd", []),
    ],
)
def test_what_has_to_be_looked_up(item: Any, references: list[str]) -> None:
    assert [*parse_body({"model": "m", "input": [item]}).references()] == references


def test_a_model_may_be_left_out_where_there_is_a_default() -> None:
    assert to_request(parse_body({"input": "hi"}, needs_model=False)).model is None
    with pytest.raises(InvalidRequest, match="'model'"):
        parse_body({"input": "hi"})


def test_a_body_is_not_changed() -> None:
    body: dict[str, Any] = {
        "model": "m",
        "input": [{"role": "user", "content": "a", "phase": None}],
        "metadata": None,
    }
    before = repr(body)
    to_request(parse_body(body))
    assert repr(body) == before
