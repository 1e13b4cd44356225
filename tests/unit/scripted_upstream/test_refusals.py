import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted_upstream.refusals import EFFORTS, Refusal, parse_request, refusal

OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**OBJECT, "required": ["a"], "additionalProperties": False}


def request(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "stream": True, "input": "hi", **fields}


def tool(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "name": "f", "parameters": OBJECT, "strict": False, **fields}


def json_format(**fields: Any) -> dict[str, Any]:
    wanted = {"type": "json_schema", "name": "n", "schema": CLOSED, "strict": True, **fields}
    return {"format": wanted}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": [tool()], "tool_choice": {"type": "function", "name": "f"}},
        {"tools": [tool(parameters=CLOSED, strict=True)], "tool_choice": "required"},
        {"tools": [tool(name="f" * 64), tool(name="g-_9")]},
        {"tools": [tool(parameters=None)]},
        {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
        {"tools": [{"type": "custom", "name": "patch"}]},
        {"text": json_format()},
        {"text": json_format(strict=False, schema=OBJECT)},
        {"text": {"verbosity": "low"}},
        {"reasoning": None, "tools": None, "text": None},
        *({"reasoning": {"effort": effort}} for effort in EFFORTS),
    ],
)
def test_a_valid_request_passes(fields: dict[str, Any]) -> None:
    assert refusal(request(**fields), ("m",)) is None


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"model": None}, 400, "model", "missing_required_parameter"),
        ({"model": 5}, 400, "model", "invalid_type"),
        ({"model": "other"}, 404, "model", "model_not_found"),
        ({"stream": False}, 400, "stream", "unsupported_value"),
        ({"input": []}, 400, "input", "missing_required_parameter"),
        ({"input": ""}, 400, "input", "missing_required_parameter"),
        ({"input": {"a": 1}}, 400, "input", "invalid_type"),
        ({"reasoning": {"effort": "bogus"}}, 400, "reasoning.effort", "invalid_value"),
        ({"reasoning": "high"}, 400, "reasoning", "invalid_type"),
        ({"tools": {}}, 400, "tools", "invalid_type"),
        ({"tools": ["f"]}, 400, "tools[0].type", "missing_required_parameter"),
        ({"tools": [tool(name="")]}, 400, "tools[0].name", "missing_required_parameter"),
        ({"tools": [tool(name="a b")]}, 400, "tools[0].name", "invalid_value"),
        ({"tools": [tool(name="f\n")]}, 400, "tools[0].name", "invalid_value"),
        ({"tools": [tool(name="f" * 65)]}, 400, "tools[0].name", "string_above_max_length"),
        ({"tools": [tool(), tool()]}, 400, "tools", None),
        ({"tools": [tool(strict=True)]}, 400, "tools[0].parameters", "invalid_function_parameters"),
        ({"tools": [tool(parameters={})]}, 400, "tools[0].parameters", None),
        ({"text": json_format(schema=OBJECT)}, 400, "text.format.schema", "invalid_json_schema"),
        ({"text": json_format(name="a b")}, 400, "text.format.name", "invalid_value"),
        ({"tool_choice": "required"}, 400, "tool_choice", None),
        ({"tool_choice": "some"}, 400, "tool_choice", "invalid_value"),
        (
            {"tools": [tool()], "tool_choice": {"type": "function", "name": "g"}},
            400,
            "tool_choice",
            None,
        ),
    ],
)
def test_what_openai_refuses_is_refused(
    fields: dict[str, Any], status: int, param: str, code: str | None
) -> None:
    refused = refusal(request(**fields), ("m",))
    assert refused is not None
    error = json.loads(refused.body)["error"]
    assert (refused.status, error["param"]) == (status, param)
    assert code in (None, error["code"])
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


def test_any_model_is_known_when_none_is_named() -> None:
    assert refusal(request(model="anything"), ()) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    refused = parse_request(body)
    assert isinstance(refused, Refusal)
    assert refused.status == 400
    assert "JSON body" in json.loads(refused.body)["error"]["message"]


WORDS = [
    "type",
    "name",
    "role",
    "content",
    "text",
    "properties",
    "items",
    "call_id",
    "parameters",
    "required",
    "anyOf",
    "strict",
    "format",
    "schema",
    "effort",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "object", "function"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["input", "tools", "tool_choice", "text", "reasoning"]), JSON)
def test_no_json_makes_a_rule_stumble(name: str, value: Any) -> None:
    refused = refusal(request(**{name: value}), ())
    assert refused is None or refused.status == 400


@given(JSON, st.booleans())
def test_no_schema_makes_a_rule_stumble(schema: Any, strict: Any) -> None:
    entry = tool(parameters={**OBJECT, "$defs": schema, "properties": schema}, strict=strict)
    refused = refusal(request(tools=[entry], text=json_format(schema=schema)), ())
    assert refused is None or refused.status == 400


@given(JSON)
def test_no_item_makes_a_rule_stumble(entry: Any) -> None:
    items = [{"role": "user", "content": [entry]}, {"type": "function_call", "call_id": entry}]
    for item in (*items, {"type": "function_call_output", "call_id": entry, "output": entry}):
        refused = refusal(request(input=[item]), ())
        assert refused is None or refused.status == 400
