"""Structured output as libraries ask for it: which schemas the upstream gets, and what is made of a model's text."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from tests.e2e.harness import MODEL, Gateway, Upstream, ask, wait_until
from tests.e2e.raw_http import stream_frames
from tests.fakes.schemas_of_libraries import ENFORCED, INSTRUCTED, LibrarySchema

FIELD = "response_format.json_schema.schema"


def wanted(schema: dict[str, Any], strict: bool | None = None) -> dict[str, Any]:
    form: dict[str, Any] = {"name": "thing", "schema": schema}
    if strict is not None:
        form["strict"] = strict
    return {"type": "json_schema", "json_schema": form}


def content(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize("case", ENFORCED, ids=lambda case: case.origin)
def test_the_upstream_takes_and_enforces_what_libraries_send(
    gateway: Gateway, upstream: Upstream, case: LibrarySchema
) -> None:
    marker = upstream.play({"from_request": True})
    answer = gateway.post(ask(marker, response_format=wanted(case.schema, case.strict)))
    Draft202012Validator(case.schema).validate(json.loads(content(answer)))
    (request,) = upstream.control.requests(marker)
    assert request["body"]["text"]["format"]["strict"] is True
    told = answer.json()["codex_metadata"]["ignored_parameters"]
    assert told == [f"{FIELD}.{name}" for name in case.ignored]


@pytest.mark.parametrize("case", INSTRUCTED, ids=lambda case: case.origin)
def test_what_no_upstream_enforces_is_told_to_the_model(
    gateway: Gateway, upstream: Upstream, case: LibrarySchema
) -> None:
    right = '{"name": "x", "values": {}, "at": [1, 2], "a": {}, "x": 1}'
    if case.schema.get("additionalProperties") is False:
        (name,) = case.schema["properties"]
        right = json.dumps({name: json.loads(right)[name]})
    marker = upstream.say(f"Sure:\n```json\n{right}\n```")
    answer = gateway.post(ask(marker, response_format=wanted(case.schema, case.strict)))
    assert content(answer) == right
    (request,) = upstream.control.requests(marker)
    assert "format" not in request["body"].get("text", {})
    refused = gateway.post(ask(marker, response_format=wanted(case.schema, True)))
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "invalid_json_schema"


class Size(BaseModel):
    width: int = Field(1, ge=1, le=9, examples=[3], description="In metres")
    unit: str = Field("m", min_length=1, max_length=4)


def test_the_sdk_parses_a_model_with_defaults_and_limits(
    sdk: openai.OpenAI, upstream: Upstream
) -> None:
    marker = upstream.say('{"width": 3, "unit": "m"}')
    answer = sdk.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": marker}], response_format=Size
    )
    assert answer.choices[0].message.parsed == Size(width=3, unit="m")
    (request,) = upstream.control.requests(marker)
    sent = request["body"]["text"]["format"]["schema"]["properties"]
    assert sent["width"]["description"] == "In metres (default: 1; examples: [3])"
    assert (sent["unit"]["minLength"], sent["unit"]["maxLength"]) == (1, 4)


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}, "'type'"),
        ({"$ref": "#/$defs/none"}, "'$ref'"),
        ({"type": "array", "items": {"type": "string"}}, "'array'"),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, "'oneOf'"),
        ({"properties": {}}, "'type' is missing"),
    ],
)
def test_a_refusal_names_the_member_that_is_there(
    gateway: Gateway, schema: dict[str, Any], named: str
) -> None:
    error = gateway.post(ask("x", response_format=wanted(schema, True))).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_json_schema", FIELD)
    assert named in error["message"]
    assert "anyOf" not in error["message"]


LOOSE = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize("form", [{"type": "json_object"}, wanted(LOOSE)])
@pytest.mark.parametrize(
    "text", ['```json\n{"a": 1}\n```', 'Here it is: {"a": 1}\nAnything else?', ' {"a": 1}']
)
def test_the_json_in_a_text_is_the_answer_at_once(
    gateway: Gateway, upstream: Upstream, form: dict[str, Any], text: str
) -> None:
    marker = upstream.say(*text.partition("a"))
    assert content(gateway.post(ask(marker, response_format=form))).strip() == '{"a": 1}'
    assert len(upstream.control.requests(marker)) == 1


@pytest.mark.parametrize("text", ['{"a": 1} or {"a": 2}', 'So: {"a": {"b": 1}', 'So: {"a": "x"}'])
def test_where_the_answer_is_not_certain_it_is_asked_for_again(
    gateway: Gateway, upstream: Upstream, text: str
) -> None:
    items = [{"type": "message", "text": text}], [{"type": "message", "text": '{"a": 3}'}]
    marker = upstream.play([{"items": entry} for entry in items])
    assert content(gateway.post(ask(marker, response_format=wanted(LOOSE)))) == '{"a": 3}'


def test_a_keyword_of_a_schema_is_in_no_log_and_no_label(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say('{"a": 1}')
    schema = {**LOOSE, "x-private-word": 1, "x-other": 2}
    answer = gateway.post(ask(marker, response_format=wanted(schema)))
    told = answer.json()["codex_metadata"]["ignored_parameters"]
    assert told == [f"{FIELD}.x-other", f"{FIELD}.x-private-word"]
    request_id = answer.headers["x-request-id"]
    line = wait_until(
        lambda: next((e for e in gateway.events("request") if e["request_id"] == request_id), None),
        "the request is in the log",
    )
    assert line["ignored_parameters"] == [FIELD]
    assert "private-word" not in gateway.get("/metrics").text


STRING = {"type": "string"}
PARAMETERS: list[dict[str, Any]] = [
    *(case.schema for case in (*ENFORCED, *INSTRUCTED)),
    {"properties": {"a": STRING}},
    {"$ref": "#/definitions/x", "definitions": {"x": {"type": "object"}}},
    {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"type": "object", "patternProperties": {"^x": STRING}, "title": None},
    *(
        {"type": "object", "properties": {"a": entry}}
        for entry in (
            {},
            True,
            {"type": "array"},
            {"type": "array", "items": STRING, "minItems": 1.0},
            {"type": ["array", "null"]},
            {"type": "integer", "maximum": 2**63},
            {"enum": ["x", 1, None], "const": {"x": 1}},
            {"not": STRING},
            {"$ref": "#/$defs/none"},
            {**STRING, "x-y": {"z": None}, "$comment": "c", "required": None, "description": None},
        )
    ),
]


def test_what_openai_takes_as_parameters_is_taken(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("no call")
    functions = [
        {"name": f"f{index}", "parameters": schema, "strict": True}
        for index, schema in enumerate(PARAMETERS)
    ]
    tools = [{"type": "function", "function": function} for function in functions]
    assert content(gateway.post(ask(marker, tools=tools))) == "no call"
    (request,) = upstream.control.requests(marker)
    offered = {tool.get("name"): tool for tool in request["body"]["tools"]}
    assert {function["name"] for function in functions} <= set(offered)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_a_schema_that_an_upstream_refuses_is_an_instruction_unless_it_was_declared_strict(
    gateway: Gateway, upstream: Upstream, *, strict: bool, stream: bool
) -> None:
    """What this gateway closes of its own accord, some upstream may have a rule of its own against."""
    error = {
        "message": "Invalid schema for response_format 'codex_output_schema': no.",
        "param": "text.format.schema",
        "code": "invalid_json_schema",
    }
    refused = {"failure": {"name": "bad_request", "body": {"error": error}}}
    said = {"items": [{"type": "message", "text": '```json\n{"a": 1}\n```', "chunk": 3}]}
    marker = upstream.play([refused, said])
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
    }
    if strict:
        schema["additionalProperties"] = False
    body = ask(marker, response_format=wanted(schema, strict))
    if strict:
        answer = gateway.post({**body, "stream": stream})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "response_format")
        return
    if stream:
        _, frames = stream_frames(gateway, body)
        texts = [frame["choices"][0]["delta"].get("content") or "" for frame in frames[:-1]]
        assert "".join(texts) == '{"a": 1}'
    else:
        assert content(gateway.post(body)) == '{"a": 1}'
    first, second = (request["body"] for request in upstream.control.requests(marker))
    assert "format" in first["text"]
    assert "format" not in second.get("text", {})
    assert "JSON schema" in second["input"][-1]["content"][0]["text"]
