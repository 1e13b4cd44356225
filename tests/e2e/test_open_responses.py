"""Open Responses: the requests of the specification's own test suite, and what it asks of their answers.

The demo upstream answers, as at a newcomer's first try: it calls tools and looks at pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.e2e.harness import MODEL, Gateway
from tests.e2e.responses_api import answer, stream
from tests.e2e.websockets import ask, dial, failure, whole

NUMBER = (int, float)
TEXT_OR_NONE = (str, type(None))
COUNT_OR_NONE = (int, type(None))
RESOURCE: dict[str, Any] = {
    **dict.fromkeys(("id", "object", "status", "model", "truncation", "service_tier"), str),
    **dict.fromkeys(("created_at", "top_logprobs"), int),
    **dict.fromkeys(("completed_at", "max_output_tokens", "max_tool_calls"), COUNT_OR_NONE),
    **dict.fromkeys(("incomplete_details", "error", "usage", "reasoning"), (dict, type(None))),
    **dict.fromkeys(("previous_response_id", "instructions", "user"), TEXT_OR_NONE),
    **dict.fromkeys(("safety_identifier", "prompt_cache_key"), TEXT_OR_NONE),
    **dict.fromkeys(("output", "tools"), list),
    **dict.fromkeys(("text", "metadata"), dict),
    **dict.fromkeys(("parallel_tool_calls", "store", "background"), bool),
    **dict.fromkeys(("top_p", "temperature", "presence_penalty", "frequency_penalty"), NUMBER),
    "tool_choice": (str, dict),
}
"""Members that the specification requires of every response, with their types."""

ITEMS: dict[str, set[str]] = {
    "message": {"id", "status", "role", "content"},
    "function_call": {"id", "call_id", "name", "arguments", "status"},
    "reasoning": {"id", "summary"},
}
PARTS: dict[str, set[str]] = {
    "output_text": {"text", "annotations", "logprobs"},
    "refusal": {"refusal"},
}
HEART = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmM"
    "IQAAAABJRU5ErkJggg=="
)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city"}},
        "required": ["location"],
    },
}


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content, **more}


REQUESTS: dict[str, dict[str, Any]] = {
    "a text": {"input": [said("user", "Say hello in exactly 3 words.")]},
    "a system prompt": {"input": [said("system", "You are a pirate."), said("user", "Say hello.")]},
    "a picture": {
        "input": [
            said(
                "user",
                [
                    {"type": "input_text", "text": "What do you see?"},
                    {"type": "input_image", "image_url": HEART},
                ],
            )
        ]
    },
    "several turns": {
        "input": [
            said("user", "My name is Alice."),
            said("assistant", "Hello Alice! How can I help you?", phase="final_answer"),
            said("user", "What is my name?"),
        ]
    },
    "a tool": {"input": [said("user", "What is the weather in Paris?")], "tools": [WEATHER]},
}


def check(response: dict[str, Any], kind: str = "message") -> None:
    for name, types in RESOURCE.items():
        assert name in response, name
        assert isinstance(response[name], types), name
    for item in response["output"]:
        assert ITEMS[item["type"]] <= set(item)
        for part in item.get("content", ()) if item["type"] == "message" else ():
            assert PARTS[part["type"]] <= set(part)
    for tool in response["tools"]:
        assert {"type", "name", "description", "parameters", "strict"} <= set(tool)
    assert kind in [item["type"] for item in response["output"]]
    assert response["status"] == "completed"


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("send", ["whole", "stream"])
def test_the_answer_is_as_specified(
    lend_gateway: Callable[..., Gateway], name: str, send: str
) -> None:
    demo = lend_gateway(with_upstream=False)
    body = REQUESTS[name]
    kind = "function_call" if name == "a tool" else "message"
    if send == "whole":
        check(answer(demo, **body), kind)
        return
    events = stream(demo, **body)
    check(events[-1]["response"], kind)
    kinds = [event["type"] for event in events]
    if name == "a tool":
        assert "response.function_call_arguments.delta" in kinds
        assert "response.function_call_arguments.done" in kinds
    for event in events[:2]:
        for member, types in RESOURCE.items():
            assert isinstance(event["response"][member], types)


# Over a WebSocket


def test_a_websocket_answers_as_specified(lend_gateway: Callable[..., Gateway]) -> None:
    demo = lend_gateway(with_upstream=False)
    with dial(demo) as client:
        told = ask(client, input=[said("user", "Count from 1 to 3.")])
        for place, event in enumerate(told):
            assert event["sequence_number"] == place
        check(told[-1]["response"])
        for word in ("first", "second"):
            check(whole(client, store=False, input=f"Reply with exactly: {word}"))


def test_a_websocket_continues_what_is_not_stored(lend_gateway: Callable[..., Gateway]) -> None:
    demo = lend_gateway(with_upstream=False)
    with dial(demo) as client:
        first = whole(client, store=False, input="Remember the code word: cobalt. Reply with OK.")
        question = "What is the code word? Reply with only the code word."
        check(whole(client, store=False, previous_response_id=first["id"], input=question))


def test_a_websocket_that_is_opened_anew_recovers(lend_gateway: Callable[..., Gateway]) -> None:
    demo = lend_gateway(with_upstream=False)
    with dial(demo) as client:
        first = whole(client, store=False, input="Remember the code word: copper. Reply with OK.")
    with dial(demo) as client:
        for missing in (first["id"], "resp_openresponses_missing_1"):
            code = failure(client, store=False, previous_response_id=missing, input="Try.")[1]
            assert code == "previous_response_not_found"
        check(whole(client, store=False, input=[said("user", "Reply with exactly: recovered")]))


def test_a_websocket_forgets_after_a_failure(lend_gateway: Callable[..., Gateway]) -> None:
    demo = lend_gateway(with_upstream=False)
    with dial(demo) as client:
        first = whole(client, store=False, input="Remember the code word: ember. Reply with OK.")
        result = {
            "type": "function_call_output",
            "call_id": "call_openresponses_missing",
            "output": "No matching tool call exists in the previous response.",
        }
        before = {"store": False, "previous_response_id": first["id"]}
        assert failure(client, input=[result], **before)[0] == 400
        code = failure(client, input="Reply with exactly: stale", **before)[1]
        assert code == "previous_response_not_found"


def test_a_websocket_begins_with_what_was_compacted(lend_gateway: Callable[..., Gateway]) -> None:
    demo = lend_gateway(with_upstream=False)
    given = [
        said("user", "Remember the compaction code word: slate."),
        said("assistant", "OK."),
        said("user", "Compress this conversation for later continuation."),
    ]
    body = {"model": MODEL, "input": given}
    compacted = requests.post(
        f"{demo.url}/v1/responses/compact", json=body, headers=demo.headers, timeout=60
    ).json()
    with dial(demo) as client:
        check(whole(client, store=False, input=[*compacted["output"], said("user", "Go on.")]))
