"""Any JSON in the place of any member of a full request: an answer or a named mistake, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from app.api.responses.input_list import to_keep
from app.api.responses.listing import PageOptions, page
from app.api.responses.request import parse_body, to_request
from app.api.responses.resource import Heading
from app.errors import InvalidRequest

FUNCTION = {
    "type": "function",
    "name": "f",
    "description": "d",
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
    "strict": None,
}
FULL: dict[str, Any] = {
    "model": "m",
    "instructions": "be",
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "hi"},
                {"type": "input_image", "image_url": "http://x/y.png", "detail": "auto"},
                {"type": "input_file", "file_data": "data:text/plain;base64,aGk=", "filename": "a"},
            ],
        },
        {
            "role": "assistant",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "yo", "annotations": [], "logprobs": []}],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "a"}],
            "encrypted_content": "x",
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "namespace": "n"},
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "input_text", "text": "r"}],
        },
        {"type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "z"},
        {
            "type": "web_search_call",
            "status": "completed",
            "action": {"type": "search", "query": "q"},
        },
        {"type": "tool_search_call", "call_id": "t", "arguments": {"q": 1}, "execution": "client"},
        {
            "type": "tool_search_output",
            "call_id": "t",
            "execution": "client",
            "tools": [{"type": "function", "name": "late", "parameters": {}}],
        },
        {"type": "additional_tools", "tools": [{"type": "function", "name": "more"}]},
        {"role": "user", "content": "more"},
    ],
    "tools": [
        FUNCTION,
        {
            "type": "custom",
            "name": "p",
            "description": "d",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
        },
        {
            "type": "namespace",
            "name": "n",
            "description": "d",
            "tools": [{"type": "function", "name": "g"}, {"type": "custom", "name": "h"}],
        },
        {"type": "web_search"},
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}],
    },
    "text": {
        "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}},
        "verbosity": "low",
    },
    "reasoning": {"effort": "low", "summary": "auto", "context": "auto"},
    "include": ["reasoning.encrypted_content"],
    "metadata": {"a": "b"},
    "max_output_tokens": 5,
    "store": False,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "service_tier": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "prompt_cache_key": "k",
    "user": "u",
    "temperature": 1,
    "top_p": 1,
    "background": False,
    "top_logprobs": 0,
    "client_metadata": {"a": "b"},
}
ABSENT = object()
ODD: list[Any] = [
    *(ABSENT, None, True, 0, -1, 1.5, 10**30, "", "x", [], {}, [[]], [{}], [None], ["x"]),
    *({"a": 1}, {"type": ["x"]}, {"type": {}}, {"type": None}, [{"type": ["x"]}], "auto"),
    *({"type": "function"}, {"type": "custom"}, {"type": "namespace"}, {"role": ["user"]}),
]
Path = tuple[str | int, ...]


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in entries:
        yield (*at, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*at, key))


def put(at: Path, odd: Any) -> dict[str, Any]:
    body = copy.deepcopy(FULL)
    target: Any = body
    for key in at[:-1]:
        target = target[key]
    if odd is ABSENT:
        del target[at[-1]]
    else:
        target[at[-1]] = odd
    return body


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [60, *range(246, 252), 1000])
def test_what_is_taken_can_be_told_again(levels: int) -> None:
    for at in places(FULL):
        try:
            body = parse_body(
                put((*at[:-1], "more") if isinstance(at[-1], str) else at, nested(levels))
            )
            request = to_request(body)
            kept = orjson.loads(to_keep(body.input, "resp_1", {}))
        except InvalidRequest as error:
            assert error.param, at
            continue
        orjson.dumps({"response": Heading("resp_1", 1, "m", request, None).begun()})
        page(kept, PageOptions(100, is_ascending=True, after=None))


def test_the_full_request_is_taken() -> None:
    to_request(parse_body(FULL))


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: "absent" if odd is ABSENT else repr(odd))
def test_a_value_of_any_shape_in_any_place_is_read_or_named(odd: Any) -> None:
    for at in places(FULL):
        try:
            request = to_request(parse_body(put(at, odd)))
        except InvalidRequest as error:
            assert error.param, at
        else:
            json.dumps(Heading("resp_1", 1, "m", request, None).begun())
