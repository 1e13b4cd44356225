"""`POST /v1/responses` as clients see it: OpenAI's own types, the SDK, tools, forms, failures."""

from __future__ import annotations

import json
from typing import Any

import openai
from pydantic import BaseModel

from tests.e2e.harness import MODEL, Gateway, Upstream
from tests.e2e.responses_api import LOOK, REASONING, SAID, TEXT, TOOL, answer, kinds, stream


def without_time(response: dict[str, Any]) -> dict[str, Any]:
    """A response without what differs from one answer to the next."""
    alike = {
        name: value
        for name, value in response.items()
        if name not in {"id", "created_at", "completed_at", "codex_metadata"}
    }
    alike["output"] = [{**item, "id": ""} for item in alike["output"]]
    return alike


def test_a_text_is_answered(gateway: Gateway, upstream: Upstream) -> None:
    usage = {"input_tokens": 50, "cached_tokens": 40, "output_tokens": 9, "reasoning_tokens": 3}
    marker = upstream.say(*TEXT, usage=usage)
    whole = answer(gateway, input=f"hi {marker}", instructions="Be brief.")
    (message,) = whole["output"]
    assert message["content"] == [
        {"type": "output_text", "annotations": [], "logprobs": [], "text": "".join(TEXT)}
    ]
    assert (message["role"], message["status"]) == ("assistant", "completed")
    assert whole["usage"] == {
        "input_tokens": 50,
        "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 59,
    }
    assert (whole["status"], whole["instructions"], whole["error"]) == (
        "completed",
        "Be brief.",
        None,
    )
    (seen,) = upstream.control.requests(marker)
    roles = [item["role"] for item in seen["body"]["input"] if item["type"] == "message"]
    assert roles[-2:] == ["developer", "user"]


def test_a_stream_has_every_event_in_its_order(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [REASONING, SAID, LOOK]})
    events = stream(gateway, input=f"hi {marker}", tools=[TOOL], reasoning={"summary": "auto"})
    text = ["output_text.delta"] * len(TEXT)
    assert kinds(events) == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added"),
        *("reasoning_summary_text.delta", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", *text),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert deltas == [*TEXT]
    for event in events[:2]:
        assert event["response"]["output"] == []
        assert event["response"]["usage"] is None
        assert set(event["response"]) | {"codex_metadata"} == set(events[-1]["response"])


def test_a_stream_adds_up_to_the_whole_answer(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [REASONING, SAID, LOOK]})
    body: dict[str, Any] = {"input": f"hi {marker}", "tools": [TOOL]}
    whole = answer(gateway, **body)
    events = stream(gateway, **body)
    assert without_time(events[-1]["response"]) == without_time(whole)
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    assert {event["response"]["id"] for event in events if "response" in event} == {
        events[-1]["response"]["id"]
    }
    assert "encrypted_content" not in json.dumps(whole)


class City(BaseModel):
    name: str
    size: int


def test_the_sdk_parses_a_form(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.say('{"na', 'me": "Rome", "size"', ": 3}")
    parsed = sdk.responses.parse(model=MODEL, input=f"hi {marker}", text_format=City)
    assert parsed.output_parsed == City(name="Rome", size=3)


def test_the_sdk_streams(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.play({"items": [REASONING, SAID]})
    with sdk.responses.stream(model=MODEL, input=f"hi {marker}") as running:
        seen = [event.type for event in running]
        final = running.get_final_response()
    assert final.output_text == "".join(TEXT)
    assert seen[-1] == "response.completed"
