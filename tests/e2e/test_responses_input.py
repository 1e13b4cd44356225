"""Input items of `/v1/responses`: what of them reaches the upstream, what is left out and named, what is refused."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import openai
import pytest

from tests.e2e.harness import MODEL, PIXEL, Gateway, Upstream
from tests.e2e.responses_api import answer, ignored, items, refusal, sent

Json = dict[str, Any]

IMAGE = {"type": "input_image", "image_url": PIXEL}
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def texts(seen: list[Json]) -> list[tuple[str, str]]:
    return [
        (item["role"], "".join(part.get("text", "") for part in item["content"]))
        for item in seen
        if item["type"] == "message"
    ]


def test_messages_of_all_roles_keep_order_and_text(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    talk = [
        {"type": "message", "role": "system", "content": "s"},
        {"role": "developer", "content": [{"type": "input_text", "text": " d "}]},
        user("u"),
        {"role": "assistant", "content": "a"},
        {
            "type": "message",
            "id": "msg_0",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "b", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "c"},
            ],
        },
        user(marker),
    ]
    whole = answer(gateway, instructions="i", input=talk)
    seen = items(upstream, marker)
    assert texts(seen) == [
        *(("developer", "i"), ("developer", "s"), ("developer", " d "), ("user", "u")),
        *(("assistant", "a"), ("assistant", "bc"), ("user", marker)),
    ]
    assert seen[5]["phase"] == "commentary"
    assert ignored(whole) == []


def test_phases_come_and_are_given_back(sdk: openai.OpenAI, upstream: Upstream) -> None:
    first = {"items": [
        {"type": "message", "deltas": ["on it"], "phase": "commentary"},
        {"type": "message", "deltas": ["done"], "phase": "final_answer"},
    ]}  # fmt: skip
    marker = upstream.play([first, {"items": [{"type": "message", "deltas": ["ok"]}]}])
    talk: list[Any] = [user(marker)]
    response = sdk.responses.create(model=MODEL, input=talk)
    assert [getattr(item, "phase", None) for item in response.output] == [
        "commentary",
        "final_answer",
    ]
    talk += [*response.output, user("and then?")]
    assert sdk.responses.create(model=MODEL, input=talk).output_text == "ok"
    said = [item for item in items(upstream, marker) if item.get("role") == "assistant"]
    assert [item["phase"] for item in said] == ["commentary", "final_answer"]


@pytest.mark.parametrize("words", [[], ["hm"]])
def test_sealed_reasoning_comes_and_is_given_back(
    sdk: openai.OpenAI, upstream: Upstream, words: list[str]
) -> None:
    """The upstream refuses what is sealed under any other id."""
    thought = {"type": "reasoning", "summary_deltas": words, "sealed": "opaque"}
    call = {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "call_1"}
    said = {"type": "message", "deltas": ["ok"]}
    marker = upstream.play([{"items": [thought, call]}, {"items": [said]}])
    options: Any = {
        "model": MODEL,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "low", "summary": "auto"},
        "store": False,
        "tools": [TOOL],
    }
    talk: list[Any] = [user(marker)]
    response = sdk.responses.create(input=talk, **options)
    reasoning, made = response.output
    assert reasoning.type == "reasoning"
    assert reasoning.encrypted_content == f"sealed:opaque:{reasoning.id}"
    assert made.type == "function_call"
    talk += [reasoning, made]
    talk.append({"type": "function_call_output", "call_id": made.call_id, "output": "seen"})
    assert sdk.responses.create(input=talk, **options).output_text == "ok"
    (back,) = [item for item in items(upstream, marker) if item["type"] == "reasoning"]
    assert (back["id"], back["encrypted_content"]) == (reasoning.id, reasoning.encrypted_content)
    assert [part["text"] for part in back["summary"]] == words


def test_reasoning_that_nobody_can_read_is_named(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    bare = {"type": "reasoning", "id": "rs_1", "summary": []}
    no_id = {"type": "reasoning", "summary": [], "encrypted_content": "x"}
    whole = answer(gateway, input=[user("a"), bare, no_id, user(marker)])
    assert ignored(whole) == ["input.reasoning"]
    assert [item["type"] for item in items(upstream, marker)] == ["message", "message"]


def test_images_and_files_of_a_message_are_seen(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    data = f"data:text/plain;base64,{b64encode(b'in the file').decode()}"
    parts = [
        {"type": "input_text", "text": marker},
        {**IMAGE, "detail": "high", "file_id": None},
        {"type": "input_file", "filename": "a.txt", "file_data": data, "file_id": None},
    ]
    whole = answer(gateway, input=[{"role": "user", "content": parts}])
    (message,) = items(upstream, marker)
    assert [part["type"] for part in message["content"]] == [
        *("input_text", "input_image", "input_text"),
    ]
    assert message["content"][1]["image_url"] == PIXEL
    assert "in the file" in message["content"][2]["text"]
    assert ignored(whole) == ["input.content.detail"]


@pytest.mark.parametrize(
    "output",
    [
        "plain",
        [{"type": "input_text", "text": "a"}, IMAGE],
        [IMAGE],
        [],
        None,
    ],
    ids=["text", "parts", "image", "empty", "null"],
)
def test_an_output_is_a_text_or_parts(gateway: Gateway, upstream: Upstream, output: Any) -> None:
    marker = upstream.say("ok")
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": output, "status": None}
    answer(gateway, input=[user(marker), call, result], tools=[TOOL])
    (seen,) = [item for item in items(upstream, marker) if item["type"] == result["type"]]
    if isinstance(output, list) and output:
        assert [part["type"] for part in seen["output"]] == [part["type"] for part in output]
    else:
        assert seen["output"] == (output or "")


def test_searches_of_other_services_go_upstream(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    web: dict[str, Any] = {"type": "web_search_call", "status": "completed"}
    web |= {"id": "ws_1", "action": {"type": "search", "query": "q"}}
    asked = {"type": "tool_search_call", "call_id": "t", "execution": "client", "arguments": {}}
    found = {"type": "tool_search_output", "call_id": "t", "execution": "client", "tools": [TOOL]}
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "x"}
    given: list[Json] = [user("a"), web, asked, {**found, "status": "completed"}, call, result]
    whole = answer(gateway, input=[*given, user(marker)])
    kinds = [item["type"] for item in items(upstream, marker)]
    assert kinds == ["message", *(item["type"] for item in given[1:]), "message"]
    assert ignored(whole) == []


OTHERS: list[Json] = [
    {"type": "file_search_call", "id": "fs_1", "queries": ["q"]},
    {"type": "code_interpreter_call", "id": "ci_1", "code": "1"},
    {"type": "computer_call", "id": "cc_1", "call_id": "c"},
    {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
    {"type": "image_generation_call", "id": "ig_1", "result": "x"},
    {"type": "local_shell_call", "id": "ls_1", "call_id": "c", "action": {}},
    {"type": "mcp_list_tools", "id": "m_1", "tools": []},
    {"type": "mcp_call", "id": "m_2", "name": "x", "arguments": "{}"},
]


@pytest.mark.parametrize("item", OTHERS, ids=lambda item: item["type"])
def test_an_item_of_another_service(gateway: Gateway, upstream: Upstream, item: Json) -> None:
    marker = upstream.say("ok")
    past = [user("a"), item, {"role": "assistant", "content": "b"}, user(marker)]
    whole = answer(gateway, input=past)
    assert ignored(whole) == [f"input.{item['type']}"]
    assert [it["type"] for it in items(upstream, marker)] == ["message"] * 3


@pytest.mark.parametrize("kind", ["computer_call_output", "mcp_approval_response", "unheard_of"])
def test_an_item_that_cannot_be_passed_on_is_refused_by_name(gateway: Gateway, kind: str) -> None:
    status, code, param, words = refusal(gateway, input=[user("a"), {"type": kind}])
    assert (status, code, param) == (400, "unsupported_parameter", "input[1].type")
    assert f"'{kind}'" in words


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        (5, "invalid_type", "input"),
        ({}, "invalid_type", "input"),
        ([], "empty_array", "input"),
        (None, "missing_required_parameter", "input"),
        (["a"], "invalid_type", "input[0]"),
        ([{}], "missing_required_parameter", "input[0].type"),
        ([{"type": 5}], "invalid_type", "input[0].type"),
        ([{"type": ["message"]}], "invalid_type", "input[0].type"),
        ([{"role": "user"}], "missing_required_parameter", "input[0].content"),
        ([{"role": "tool", "content": "x"}], "invalid_value", "input[0].role"),
        ([{"type": "message", "content": "x"}], "missing_required_parameter", "input[0].role"),
        ([{"role": "user", "content": []}], "empty_array", "input[0].content"),
        ([{"role": "user", "content": [{}]}], None, "input[0].content[0].type"),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
            "unsupported_parameter",
            "input[0].content[0].input_audio",
        ),
        (
            [{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}],
            "unsupported_parameter",
            "input[0].content[0]",
        ),
        (
            [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}],
            "unsupported_parameter",
            "input[0].content[0].file_id",
        ),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x"}]}],
            "invalid_value",
            "input[0].content[0].image_url",
        ),
        ([{"type": "item_reference", "id": "msg_1"}], "invalid_value", "input"),
        ([{"id": "msg_1"}], "invalid_value", "input"),
        (
            [{"type": "function_call_output", "call_id": "c", "output": "x"}],
            "invalid_value",
            "input",
        ),
        (
            [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}],
            "invalid_value",
            "input",
        ),
        (
            [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}],
            "invalid_type",
            "input[0].arguments",
        ),
        (
            [{"type": "custom_tool_call", "call_id": "c", "name": "f"}],
            "missing_required_parameter",
            "input[0].input",
        ),
        (
            [{"type": "web_search_call", "action": 5}, {"role": "user", "content": "a"}],
            "invalid_type",
            "input[0].action",
        ),
    ],
)
def test_a_mistake_is_named(gateway: Gateway, given: Any, code: str | None, param: str) -> None:
    status, got, where, _ = refusal(gateway, input=given)
    assert (status, where) == (400, param)
    assert code is None or got == code


def test_too_many_items_are_counted_with_their_parts(gateway: Gateway) -> None:
    parts = [{"type": "input_text", "text": "x"}] * 10_000
    message = {"role": "user", "content": parts}
    status, code, param, _ = refusal(gateway, input=[message, message])
    assert (status, code, param) == (400, "array_above_max_length", "input")


def test_twenty_thousand_items_are_read(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    answer(gateway, input=[*[user("x")] * 9_000, user(marker)])
    assert len(sent(upstream, marker)[-1]["input"]) == 9_001


def test_deep_nesting_reaches_nobody(gateway: Gateway, upstream: Upstream) -> None:
    """codex cannot read such a line, and would answer nothing until somebody gives up."""
    deep: Any = "x"
    for _ in range(200):
        deep = {"a": deep}
    marker = upstream.say("ok")
    call = {"type": "tool_search_call", "arguments": deep}
    status, _, param, _ = refusal(gateway, input=[call, user(marker)])
    assert (status, param) == (400, "input[0].arguments")
    odd = {"role": "user", "content": marker, "x": deep}
    whole = answer(gateway, input=[odd], metadata=None, client_metadata={"a": deep})
    assert ignored(whole) == ["client_metadata", "input.x"]
