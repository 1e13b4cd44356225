"""Requests to the Responses API, and its answers held against OpenAI's own types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.e2e.harness import MODEL, Gateway, Upstream
from tests.e2e.raw_http import Watch, joined

Event = dict[str, Any]

TEXT = ("Hel", "lo", "lo", " ", "10", "00", "e", "\u0301", "\n\n")
REASONING = {
    "type": "reasoning",
    "summary_deltas": ["**hm**", " hm"],
    "encrypted_content": "sealed",
}
SAID = {"type": "message", "deltas": list(TEXT)}
LOOK = {"type": "function_call", "name": "look", "arguments": '{"a": "b"}', "call_id": "call_1"}
TOOL = {
    "type": "function",
    "name": "look",
    "strict": None,
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
}
EVENTS: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def post(gateway: Gateway, body: dict[str, Any], **options: Any) -> requests.Response:
    return requests.post(
        f"{gateway.url}/v1/responses",
        json={"model": MODEL, **body},
        headers=gateway.headers,
        timeout=60,
        **options,
    )


def answer(gateway: Gateway, **body: Any) -> dict[str, Any]:
    response = post(gateway, body)
    assert response.status_code == 200, response.text
    whole: dict[str, Any] = response.json()
    Response.model_validate(whole, strict=True)
    return whole


def frames(response: requests.Response) -> Iterator[tuple[str, Event]]:
    return parsed(response.content)


def parsed(raw: bytes) -> Iterator[tuple[str, Event]]:
    for block in raw.decode().split("\n\n"):
        if block:
            name, data = block.split("\n")
            assert name.startswith("event: ")
            assert data.startswith("data: ")
            yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def stream(gateway: Gateway, watch: Watch = len, **body: Any) -> list[Event]:
    """The events of a stream, each held against OpenAI's own type."""
    response = post(gateway, {**body, "stream": True}, stream=True)
    assert response.status_code == 200, response.text
    events = []
    for name, event in parsed(joined(response.iter_content(None), watch)):
        assert name == event["type"]
        EVENTS.validate_python(event, strict=True)
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def refusal(gateway: Gateway, **body: Any) -> tuple[int, str, str | None, str]:
    """Status, code, field and sentence of an error before the commit."""
    response = post(gateway, body)
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code", "retryable"}
    return response.status_code, error["code"], error["param"], error["message"]


def sent(upstream: Upstream, marker: str) -> list[Any]:
    """The bodies that reached the upstream."""
    return [request["body"] for request in upstream.control.requests(marker)]


def items(upstream: Upstream, marker: str) -> list[Event]:
    """The input items of the last of them, without the ids that codex makes up."""
    return [
        {name: value for name, value in item.items() if name != "id" or item["type"] == "reasoning"}
        for item in sent(upstream, marker)[-1]["input"]
    ]


def ignored(response: Event) -> list[str]:
    """What the answer says had no effect."""
    names: list[str] = response["codex_metadata"]["ignored_parameters"]
    return names


def kinds(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]
