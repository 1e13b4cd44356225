"""Input items to codex's: tables of each kind, and what is noted, refused or left out."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.compaction import MOST_BYTES, packed
from app.api.content import ImageFields, Past, PixelCount
from app.api.input_items import InputReader, count_answered
from app.errors import InvalidRequest

Item = dict[str, Any]


def user(text: str = "hi") -> Item:
    return {"role": "user", "content": text}


def call(call_id: Any = "c", **members: Any) -> Item:
    item = {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}
    return {**item, **members}


def result(call_id: str = "c", output: Any = "r", kind: str = "function_call_output") -> Item:
    return {"type": kind, "call_id": call_id, "output": output}


def message(role: str, *texts: str, **members: Any) -> Item:
    kind = "output_text" if role == "assistant" else "input_text"
    parts = [{"type": kind, "text": text} for text in texts]
    return {"type": "message", "role": role, "content": parts, **members}


def called(name: str = "f", arguments: str = "{}", call_id: str = "c") -> Item:
    return {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id}


def answered(output: Any = "r", call_id: str = "c") -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def read(*items: Any, past: int = 0, **references: Item) -> InputReader:
    reader = InputReader(ImageFields(), Past("input"), PixelCount(), references)
    for index, item in enumerate(items):
        reader.add(item, f"input[{index}]", is_past=index < past)
    reader.check_answered()
    return reader


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([user()], [message("user", "hi")]),
        ([{"type": "message", "role": "system", "content": "s"}], [message("developer", "s")]),
        ([{"role": "developer", "content": ""}], [message("developer", "")]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
            [message("user", "a")],
        ),
        ([{"role": "assistant", "content": "a"}], [message("assistant", "a")]),
        ([{"role": "assistant", "content": []}], []),
        (
            [{"role": "assistant", "content": "a", "phase": "final_answer"}],
            [message("assistant", "a", phase="final_answer")],
        ),
        (
            [{"role": "assistant", "content": "a", "phase": ["odd"]}],
            [message("assistant", "a")],
        ),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
            [message("assistant", "no")],
        ),
        ([call(), result()], [called(), answered()]),
        ([call(namespace="n"), result()], [called("n__f"), answered()]),
        ([call(namespace=""), result(output=None)], [called(), answered("")]),
        (
            [
                {"type": "custom_tool_call", "call_id": "c", "name": "p", "input": 'a"b'},
                result(kind="custom_tool_call_output"),
            ],
            [called("p", '{"input":"a\\"b"}'), answered()],
        ),
        (
            [call("a"), call("b"), result("b", "2"), result("a", "1")],
            [
                called(call_id="a"),
                called(call_id="b"),
                answered("2", "b"),
                answered("1", "a"),
            ],
        ),
        (
            [call(), result(output=[{"type": "input_text", "text": "t"}])],
            [called(), answered([{"type": "input_text", "text": "t"}])],
        ),
        (
            [{"type": "reasoning", "id": "rs_1", "encrypted_content": "x", "content": None}],
            [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}],
        ),
        ([{"type": "additional_tools", "tools": []}], []),
    ],
)
def test_an_item_is_made_into_those_of_codex(given: list[Item], expected: list[Item]) -> None:
    assert read(*given).conversation.items == expected


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        (["x"], "input[0]", "invalid_type"),
        ([{}], "input[0].type", "missing_required_parameter"),
        ([{"type": 5}], "input[0].type", "invalid_type"),
        ([{"type": {}}], "input[0].type", "invalid_type"),
        ([{"type": "odd"}], "input[0].type", "unsupported_parameter"),
        ([{"id": "x", "name": "y"}], "input[0].type", "missing_required_parameter"),
        ([{"role": "user"}], "input[0].content", "missing_required_parameter"),
        ([{"role": "assistant"}], "input[0].content", "missing_required_parameter"),
        ([{"role": "tool", "content": "x"}], "input[0].role", "invalid_value"),
        ([{"role": ["user"], "content": "x"}], "input[0].role", "invalid_value"),
        ([{"type": "message"}], "input[0].role", "missing_required_parameter"),
        ([call(call_id=None)], "input[0].call_id", "missing_required_parameter"),
        ([call(name=5)], "input[0].name", "invalid_type"),
        ([call(namespace=5)], "input[0].namespace", "invalid_type"),
        ([call(arguments={})], "input[0].arguments", "invalid_type"),
        ([call()], "input", "invalid_value"),
        ([result()], "input", "invalid_value"),
        ([call(), result(), result()], "input", "invalid_value"),
        ([call(), result(output=5)], "input[1].output", "invalid_type"),
        ([call(), result(output=[{"type": "odd"}])], "input[1].output[0].type", "invalid_value"),
        ([{"type": "item_reference"}], "input[0].id", "missing_required_parameter"),
        ([{"type": "item_reference", "id": "x"}], "input", "invalid_value"),
        ([{"type": "additional_tools"}], "input[0].tools", "invalid_type"),
        (
            [{"type": "additional_tools", "tools": [{"type": "mcp"}]}],
            "input[0].tools[0].type",
            "unsupported_parameter",
        ),
        ([{"type": "computer_call"}], "input[0].type", "unsupported_parameter"),
    ],
)
def test_a_mistake_is_named(given: list[Any], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(*given)
    assert (raised.value.param, raised.value.code) == (param, code)


def test_a_call_that_waits_is_told_by_its_id() -> None:
    with pytest.raises(InvalidRequest, match=r"No tool output found for function call call_7\."):
        read(call("call_7"))


@pytest.mark.parametrize("kind", ["mcp_call", "computer_call_output", "shell_call"])
def test_what_another_service_did_is_left_out_of_the_past(kind: str) -> None:
    reader = InputReader(ImageFields(), past := Past("input"), PixelCount(), {})
    reader.add({"type": kind}, "input[0]", is_past=True)
    assert reader.conversation.items == []
    assert list(past.unread) == [f"input.{kind}"]


@pytest.mark.parametrize("phase", ["partial_answer", "", 5, ["commentary"]])
def test_a_phase_that_codex_does_not_know_is_named(phase: Any) -> None:
    reader = read({"role": "assistant", "content": "a", "phase": phase})
    assert reader.conversation.items == [message("assistant", "a")]
    assert list(reader.ignored) == ["input.phase"]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "encrypted_content": "x"},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": 5},
        {"type": "reasoning", "id": 5, "encrypted_content": "x"},
    ],
)
def test_reasoning_that_is_of_no_use_is_left_out_and_named(item: Item) -> None:
    reader = read(user(), item)
    assert reader.conversation.items == [message("user", "hi")]
    assert list(reader.ignored) == ["input.reasoning"]


def test_a_reference_is_what_it_means() -> None:
    kept = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    said = {**message("assistant", "a"), "id": "msg_1"}
    other = {**kept, "id": "rs_2"}
    items = [{"id": "msg_1"}, {"type": "item_reference", "id": "rs_1"}]
    bare = {"type": "reasoning", "id": "rs_2"}
    reader = read(*items, bare, msg_1=said, rs_1=kept, rs_2=other)
    assert reader.conversation.items == [message("assistant", "a"), kept, other]


def test_tools_among_the_items_are_gathered() -> None:
    inner = [{"type": "function", "name": "f"}]
    space = {"type": "namespace", "name": "n", "tools": inner}
    reader = read(
        {"type": "additional_tools", "tools": [*inner, {"type": "web_search"}]},
        {"type": "tool_search_call", "arguments": {}},
        {"type": "tool_search_output", "tools": [space]},
    )
    assert [entry.tool.name for entry in reader.tools] == ["f", "n__f"]
    assert list(reader.ignored) == ["tools.web_search"]
    assert [item["type"] for item in reader.conversation.items] == [
        "tool_search_call",
        "tool_search_output",
    ]


@pytest.mark.parametrize(
    ("items", "count"),
    [
        ([], 0),
        ([user()], 0),
        ([user(), {"role": "assistant", "content": "a"}, user()], 2),
        ([user(), call(), result()], 2),
        ([{"type": "mcp_call"}, "odd", {"type": ["function_call"]}], 1),
    ],
)
def test_what_the_model_has_answered_already(items: list[Any], count: int) -> None:
    assert count_answered(items) == count


def compaction(summary: str) -> Item:
    return {"type": "compaction", "encrypted_content": packed(summary)}


def test_summaries_are_read_as_long_as_they_are_not_too_long_together() -> None:
    some = compaction("some")
    assert len(read(some, some, user()).conversation.items) == 3
    half = compaction("x" * (MOST_BYTES // 2))
    for items in ([half] * 3, [compaction("x" * (MOST_BYTES + 1))]):
        with pytest.raises(InvalidRequest, match="too long") as refused:
            read(*items)
        assert refused.value.param == f"input[{len(items) // 2}].encrypted_content"


def test_summaries_after_the_longest_one_are_too_long() -> None:
    longest = compaction("x" * MOST_BYTES)
    assert len(read(longest).conversation.items) == 1
    with pytest.raises(InvalidRequest, match="too long"):
        read(longest, compaction("y"))


def test_an_item_is_referred_to_once() -> None:
    reference = {"type": "item_reference", "id": "msg_1"}
    with pytest.raises(InvalidRequest, match="Duplicate item found with id msg_1") as refused:
        read(reference, user(), reference, msg_1=user("long"))
    assert refused.value.param == "input"


def test_reasoning_that_is_kept_is_read_once() -> None:
    kept = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "long"}
    bare = {"type": "reasoning", "id": "rs_1", "summary": []}
    reader = read(bare, bare, user(), rs_1=kept)
    assert reader.conversation.items == [kept, message("user", "hi")]
    assert list(reader.ignored) == ["input.reasoning"]
    with pytest.raises(InvalidRequest, match="Duplicate"):
        read(bare, {"type": "item_reference", "id": "rs_1"}, user(), rs_1=kept)
