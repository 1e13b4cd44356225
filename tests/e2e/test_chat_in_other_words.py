"""Chat completions in the words of the Responses API, as some editors send them, and custom tools."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from app.answers.tools import alias_of
from tests.e2e.harness import MODEL, Gateway, Upstream

FLAT = {
    "type": "function",
    "name": "look",
    "description": "Looks.",
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
    "strict": False,
}
WRAPPED = {"type": "function", "function": {**FLAT, "type": None}}
LOOK = {"type": "function_call", "name": "look", "arguments": '{"a": "b"}', "call_id": "call_1"}
SAID = {"type": "message", "deltas": ["a", "b"]}


def answered(gateway: Gateway, **body: Any) -> dict[str, Any]:
    response = gateway.post({"model": MODEL, **body})
    assert response.status_code == 200, response.text
    whole: dict[str, Any] = response.json()
    return whole


@pytest.mark.parametrize("choice", ["auto", {"type": "auto"}, {"type": "function", "name": "look"}])
@pytest.mark.parametrize("tool", [FLAT, WRAPPED])
def test_a_tool_may_be_flat_or_wrapped(
    gateway: Gateway, upstream: Upstream, tool: dict[str, Any], choice: Any
) -> None:
    marker = upstream.play({"items": [LOOK]})
    parts = [{"type": "input_text", "text": f"hi {marker}"}]
    whole = answered(
        gateway,
        messages=[{"role": "user", "content": parts}],
        tools=[tool],
        tool_choice=choice,
    )
    (call,) = whole["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "look", "arguments": '{"a": "b"}'}
    assert whole["codex_metadata"]["ignored_parameters"] == []
    (seen,) = upstream.control.requests(marker)
    assert [offered["name"] for offered in seen["body"]["tools"]] == ["look"]


def test_a_conversation_may_be_an_input(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [SAID]})
    whole = answered(
        gateway,
        instructions="Be brief.",
        input=[
            {"role": "user", "content": f"hi {marker}"},
            {**LOOK, "id": "fc_1", "status": "completed"},
            {"type": "function_call_output", "call_id": "call_1", "output": "seen"},
            {"role": "user", "content": [{"type": "input_text", "text": "and?"}]},
        ],
        text={"verbosity": "low"},
        max_output_tokens=1,
        tools=[FLAT],
        store=False,
    )
    (choice,) = whole["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("a", "length")
    assert whole["codex_metadata"]["ignored_parameters"] == []
    (seen,) = upstream.control.requests(marker)
    kinds = [item.get("role", item["type"]) for item in seen["body"]["input"]]
    assert kinds[-5:] == ["developer", "user", "function_call", "function_call_output", "user"]
    assert seen["body"]["text"]["verbosity"] == "low"


def test_messages_win_over_an_input(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [SAID]})
    messages = [{"role": "user", "content": f"hi {marker}"}]
    whole = answered(gateway, messages=messages, input="other", instructions="other")
    assert whole["codex_metadata"]["ignored_parameters"] == ["input", "instructions"]


PATCH = {
    "type": "custom",
    "custom": {
        "name": "apply_patch",
        "description": "Patches.",
        "format": {
            "type": "grammar",
            "grammar": {"syntax": "lark", "definition": 'start: "x"'},
        },
    },
}
TEXT = 'a "\u00e9" \n\t*** ' + "x" * 4000


def test_a_custom_tool_is_called_with_a_text(sdk: openai.OpenAI, upstream: Upstream) -> None:
    call = {"type": "function_call", "name": alias_of("apply_patch"), "call_id": "call_1"}
    patching = {**call, "arguments": json.dumps({"input": TEXT})}
    marker = upstream.play([{"items": [patching]}, {"items": [patching]}, {"items": [SAID]}])
    messages: list[Any] = [{"role": "user", "content": f"hi {marker}"}]
    whole = sdk.chat.completions.create(model=MODEL, messages=messages, tools=[PATCH])  # type: ignore[list-item]
    (made,) = whole.choices[0].message.tool_calls or []
    assert made.type == "custom"
    assert (made.custom.name, made.custom.input) == ("apply_patch", TEXT)
    with sdk.chat.completions.stream(
        model=MODEL,
        messages=messages,
        tools=[PATCH],  # type: ignore[list-item]
    ) as stream:
        chunks = [event.chunk for event in stream if event.type == "chunk"]
    deltas = [chunk.choices[0].delta.tool_calls for chunk in chunks if chunk.choices]
    calls = [call.to_dict() for calls in deltas if calls for call in calls]
    assert calls[0] == {
        "index": 0,
        "id": "call_1",
        "type": "custom",
        "custom": {"name": "apply_patch", "input": ""},
    }
    assert "".join(call["custom"]["input"] for call in calls) == TEXT  # type: ignore[index]
    messages += [
        whole.choices[0].message.to_dict(),
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ]
    last = sdk.chat.completions.create(model=MODEL, messages=messages, tools=[PATCH])  # type: ignore[list-item]
    assert last.choices[0].message.content == "ab"
    *_, seen = upstream.control.requests(marker)
    assert 'start: "x"' in seen["body"]["tools"][0]["description"]
    assert json.loads(seen["body"]["input"][-2]["arguments"]) == {"input": TEXT}
