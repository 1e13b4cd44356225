"""The document of a running gateway, as a program and a browser get it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator

from tests.e2e.gateway_pool import EVERY_KEY
from tests.e2e.harness import MODEL, Gateway, Upstream
from tests.e2e.raw_http import stream_frames
from tests.e2e.routes import Route, on_each_route


def closed(node: Any) -> Any:
    """Return a schema in which no object has a member that it does not name."""
    if isinstance(node, list):
        return list(map(closed, node))
    if not isinstance(node, dict):
        return node
    schema = {name: closed(value) for name, value in node.items()}
    if "required" in schema and "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def validator(document: dict[str, Any], name: str) -> Draft202012Validator:
    """Return what looks at an object as the component of this name, its objects closed."""
    schemas = closed(document["components"]["schemas"])
    whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    return Draft202012Validator(whole)


@pytest.fixture(scope="module")
def document(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = gateway.get("/openapi.json").json()
    return found


def test_both_are_open_and_the_operators_part_is_not(gateway: Gateway) -> None:
    for path, kind in (("/openapi.json", "application/json"), ("/docs", "text/html")):
        with_key, without = gateway.get(path), gateway.get(path, key=False)
        assert (with_key.status_code, without.status_code) == (200, 200)
        assert with_key.headers["Content-Type"].startswith(kind)
        assert "/internal" in with_key.text
        assert "/internal" not in without.text


FUNCTION: dict[str, Any] = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"type": "function_call", "name": "f", "call_id": "call_1", "arguments": "{}"}
THOUGHT = {"type": "reasoning", "summary_deltas": ["hm"], "sealed": "opaque"}
SAID = {"type": "message", "deltas": ["wo", "rds"]}
NAMES = {"/v1/chat/completions": "ChatCompletion", "/v1/responses": "Response"}


@on_each_route
@pytest.mark.parametrize("items", [[SAID], [THOUGHT, SAID], [THOUGHT, CALL]])
def test_an_answer_has_the_members_that_are_told_and_no_others(
    gateway: Gateway,
    upstream: Upstream,
    document: dict[str, Any],
    route: Route,
    items: list[dict[str, Any]],
) -> None:
    tool = TOOL if "chat" in route.path else {"type": "function", **FUNCTION}
    body = route.ask(upstream.play({"items": items}), tools=[tool])
    answer = route.post(gateway, body)
    assert answer.status_code == 200, answer.text
    validator(document, NAMES[route.path]).validate(answer.json())


@pytest.mark.parametrize("items", [[SAID], [THOUGHT, SAID], [THOUGHT, CALL]])
@pytest.mark.parametrize("usage", [True, False])
def test_an_event_has_the_members_that_are_told_and_no_others(
    gateway: Gateway,
    upstream: Upstream,
    document: dict[str, Any],
    items: list[dict[str, Any]],
    *,
    usage: bool,
) -> None:
    marker = upstream.play({"items": items})
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": marker}],
        "tools": [TOOL],
        "stream_options": {"include_usage": usage},
    }
    _, (*frames, last) = stream_frames(gateway, body)
    assert last == "[DONE]"
    for frame in frames:
        validator(document, "ChatCompletionEvent").validate(frame)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/livez", "Live"),
        ("/readyz", "Ready"),
        ("/healthz", "Health"),
        ("/v1/models", "ModelList"),
        (f"/v1/models/{MODEL}", "Model"),
        ("/v1/nothing", "Error"),
    ],
)
def test_the_other_answers_have_their_shapes(
    gateway: Gateway, document: dict[str, Any], path: str, name: str
) -> None:
    for key in (True, False):
        answer = gateway.get(path, key=key)
        shape = "Error" if answer.status_code >= 400 else name
        validator(document, shape).validate(answer.json())


def test_what_operators_get_has_its_shape(lend_gateway: Any) -> None:
    gateway: Gateway = lend_gateway(**EVERY_KEY)
    document = gateway.get("/openapi.json").json()
    headers = {"Authorization": f"Bearer {EVERY_KEY['PROXY_ADMIN_KEY']}"}
    for path, name in (
        ("/internal/maintenance", "Maintenance"),
        ("/internal/log-level", "LogLevel"),
        ("/internal/traces", "TraceList"),
        ("/internal/status", "Status"),
        ("/internal/recent", "Recent"),
    ):
        answer = requests.get(gateway.url + path, headers=headers, timeout=30)
        validator(document, name).validate(json.loads(answer.content))
