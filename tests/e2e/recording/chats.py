"""Chat requests that are answered, each whole and as a stream where that makes a difference."""

from __future__ import annotations

from typing import Any

from tests.e2e.harness import MODEL
from tests.e2e.recording.case import MARK, Case, call, chat, say

USAGE = {"input_tokens": 50, "cached_tokens": 40, "output_tokens": 9, "reasoning_tokens": 3}
THINKING = {
    "items": [
        {"type": "reasoning", "summary_deltas": ["**Thin", "king**"], "text_deltas": ["raw"]},
        {"type": "message", "deltas": ["an", "swer"]},
    ],
    "usage": USAGE,
}
WITH_USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


def function(name: str, **schema: Any) -> dict[str, Any]:
    """Return a function of the client, as `functions` has it."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, **schema}
    return {"name": name, "description": f"Looks for {name}.", "parameters": parameters}


def tool(name: str, **schema: Any) -> dict[str, Any]:
    """Return the same as `tools` has it."""
    return {"type": "function", "function": function(name, **schema)}


WEATHER = tool("get_weather", required=["city"])
CALLS = {
    "items": [
        {"type": "message", "deltas": ["Let me ", "look."]},
        call("get_weather", '{"city": "Z\\u00fcrich"}', "call_A"),
        call("get_weather", '{"city":"B"}', "call_B"),
    ],
    "usage": USAGE,
}
ONE_CALL = {"items": [call("get_weather", '{"city":"Bern"}', "call_1")], "usage": USAGE}
HELD_CALLS = {"items": CALLS["items"], "hold": "end"}
ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {
        "mode": "auto",
        "tools": [{"type": "function", "function": {"name": "get_weather"}}],
    },
}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "properties": {"a": {"type": "integer"}}}


def form(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a `response_format` with a schema."""
    return {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, **more}}


HISTORY = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
    {"role": "user", "content": "Weather?", "name": "ann"},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Bern"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "assistant", "content": [{"type": "text", "text": "It is sunny."}]},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": f"And this? [{MARK[0]}]"},
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        ],
    },
]
OLD_HISTORY = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "sunny"},
    {"role": "user", "content": f"[{MARK[0]}]"},
]

FIRST = Case(
    name="chat: whole",
    body={"model": MODEL, "messages": [{"role": "user", "content": f"[{MARK[0]}]"}]},
    headers={"X-Request-Id": "recording.the-first_1"},
    plays=(say("Hel", "lo", "lo", " \N{EN DASH} ü"),),
)
"""The request whose trace is looked at; its caller chose the id."""

PLAIN = (
    chat("chat: stream", say("a", "a", "b"), stream=True),
    chat("chat: stream with usage", say("a", "b", usage=USAGE), **WITH_USAGE),
    chat(
        "chat: stream without usage",
        say("a"),
        stream=True,
        stream_options={"include_usage": False},
    ),
    chat("chat: reasoning", THINKING, reasoning_effort="high"),
    chat("chat: reasoning as a stream", THINKING, **WITH_USAGE),
    chat("chat: refusal", {"items": [{"type": "message", "refusal": "I can't."}]}),
    chat(
        "chat: refusal as a stream",
        {"items": [{"type": "message", "refusal": "I can't."}]},
        stream=True,
    ),
    chat("chat: nothing is said", say(usage={"output_tokens": 0})),
    chat("chat: a history with tools and an image", say("x"), messages=HISTORY, tools=[WEATHER]),
    chat("chat: a history in the legacy form", say("x"), messages=OLD_HISTORY),
    chat(
        "chat: every ignored parameter",
        say("x"),
        temperature=0.5,
        top_p=0.5,
        presence_penalty=1,
        frequency_penalty=1,
        seed=7,
        logit_bias={"1": 2},
        metadata={"a": "b"},
        prediction={"type": "content", "content": "x"},
        prompt_cache_key="k",
        prompt_cache_retention="24h",
        safety_identifier="s",
        store=True,
        user="u",
        web_search_options={},
        nobody_knows_this=1,
    ),
    chat(
        "chat: parameters that are passed on",
        say("x"),
        service_tier="priority",
        verbosity="low",
        logprobs=False,
        modalities=["text"],
    ),
    chat("chat: a model with an effort in its name", say("x"), model=f"{MODEL}-low"),
    chat("chat: an alias", say("x"), model="team/fast"),
    Case(
        name="chat: with a slash at the end, from a page",
        path="/v1/chat/completions/",
        body={"model": MODEL, "messages": [{"role": "user", "content": MARK[0]}]},
        headers={"Origin": "https://chat.example"},
        plays=(say("x"),),
    ),
)

TOOLS = (
    chat("tools: whole and parallel", CALLS, tools=[WEATHER]),
    chat("tools: stream", CALLS, tools=[WEATHER], **WITH_USAGE),
    chat("tools: one at a time", HELD_CALLS, tools=[WEATHER], parallel_tool_calls=False),
    chat(
        "tools: one at a time as a stream",
        HELD_CALLS,
        tools=[WEATHER],
        parallel_tool_calls=False,
        stream=True,
    ),
    chat("tools: functions", {**ONE_CALL, "hold": "end"}, functions=[WEATHER["function"]]),
    chat(
        "tools: functions as a stream",
        {**ONE_CALL, "hold": "end"},
        functions=[WEATHER["function"]],
        stream=True,
    ),
    chat(
        "tools: function_call by name",
        {**ONE_CALL, "hold": "end"},
        functions=[WEATHER["function"], function("other")],
        function_call={"name": "get_weather"},
    ),
    chat("tools: choice none", say("x"), tools=[WEATHER], tool_choice="none"),
    chat("tools: choice auto", ONE_CALL, tools=[WEATHER, tool("shell")], tool_choice="auto"),
    chat("tools: choice required", ONE_CALL, tools=[WEATHER], tool_choice="required"),
    chat(
        "tools: choice required, and asked for once more",
        [say("I would rather talk.", usage=USAGE), ONE_CALL],
        tools=[WEATHER],
        tool_choice="required",
        **WITH_USAGE,
    ),
    chat(
        "tools: choice required, in vain", say("no", "no"), tools=[WEATHER], tool_choice="required"
    ),
    chat("tools: choice by name", ONE_CALL, tools=[tool("other"), WEATHER], tool_choice=NAMED),
    chat("tools: choice allowed", ONE_CALL, tools=[tool("other"), WEATHER], tool_choice=ALLOWED),
    chat(
        "tools: names that codex keeps, a schema that it does not read whole",
        say("x"),
        tools=[
            tool("a.b", properties={"city": {"type": "string", "pattern": "^[A-Z]"}}),
            tool("mcp__server__tool"),
        ],
    ),
)

FORMS = (
    chat(
        "form: strict",
        say('{"a"', ": 1}"),
        response_format=form(CLOSED, strict=True, description="A thing."),
    ),
    chat(
        "form: strict as a stream",
        say('{"a"', ": 1}"),
        response_format=form(CLOSED, strict=True),
        stream=True,
    ),
    chat("form: loose", say('{"a": 1}'), response_format=form(OPEN)),
    chat(
        "form: loose, and asked for once more",
        [say('{"a": "b"}', usage=USAGE), say('{"a": 1}', usage=USAGE)],
        response_format=form(OPEN, description="A thing."),
    ),
    chat("form: json_object", say('{"b": 2}'), response_format={"type": "json_object"}),
    chat(
        "form: json_object as a stream",
        say("no JSON"),
        response_format={"type": "json_object"},
        stream=True,
    ),
    chat("form: json_object, in vain", say("no JSON"), response_format={"type": "json_object"}),
    chat("form: text", say("x"), response_format={"type": "text"}),
)

LETTERS = ("ab", "c", "de", "f")
ENDS = (
    chat("end: stop", say(*LETTERS, hold="end"), stop="cd"),
    chat("end: stop as a stream", say(*LETTERS, hold="end"), stop=["cd", "zz"], **WITH_USAGE),
    chat("end: stop that does not come", say(*LETTERS), stop=["fX", "zz"], stream=True),
    chat("end: max_tokens", say(*LETTERS, hold="end"), max_tokens=2),
    chat(
        "end: max_completion_tokens as a stream",
        say(*LETTERS, hold="end"),
        max_tokens=9,
        max_completion_tokens=3,
        **WITH_USAGE,
    ),
    chat("end: the upstream's own limit", say(*LETTERS, status="max_output_tokens")),
    chat("end: the upstream's filter", say(*LETTERS, status="content_filter"), stream=True),
    chat("n: whole", say("a", "b", usage=USAGE), n=2),
    chat("n: stream", say("a", "b", usage=USAGE), n=2, **WITH_USAGE),
    chat("n: stop as a stream", say(*LETTERS, hold="end"), n=2, stop="f", stream=True),
)

CHATS = (*PLAIN, *TOOLS, *FORMS, *ENDS)
