"""Requests made to hold up or break this worker: each is refused or answered, at once."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from app.answers.choice import Choice, RetryWithInstruction
from app.answers.chunks import Cause, Ended
from app.answers.constraints import AnswerConstraints
from app.answers.fence import FenceFilter
from app.answers.schema_check import check
from app.answers.tools import to_dynamic_tool
from app.api.chat_completions.request import parse_request
from app.api.content import CHAT_PARTS, to_content
from app.api.output_formats import parse_format
from app.api.tools import parse_tools
from app.backend.events import RawItem, TextDelta, TurnEnded, TurnStatus, Usage, UsageUpdated
from app.errors import InvalidRequest, UpstreamError

HI = {"role": "user", "content": "hi"}
D = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    def late(*_: Any) -> None:
        raise AssertionError("it took too long")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 20)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def parse(**members: Any) -> Any:
    return parse_request(
        {"model": "m", "messages": [HI], **members}, max_choices=8, shows_reasoning=False
    )


# content: a type that is no string is a 400, not a TypeError


@pytest.mark.parametrize("kind", [["text"], {}, [["x"]]])
def test_a_type_of_a_part_that_is_no_string_is_named(kind: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        to_content([{"type": kind}], "c", "input_text", CHAT_PARTS.input({}))
    assert raised.value.param == "c[0].type"


# request


@pytest.mark.parametrize("choice", [{"type": "function", "function": {"name": "f"}}, {}, []])
@pytest.mark.parametrize("name", ["tool_choice", "function_call"])
def test_a_choice_without_tools_is_refused_whatever_its_shape(name: Any, choice: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(**{name: choice})
    assert raised.value.param == name


def test_an_empty_list_of_functions_does_not_change_the_tools() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert parse(tools=tools, functions=[]).constraints.parallel_calls


def test_a_choice_without_its_function_is_missing_it() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(InvalidRequest) as raised:
        parse(tools=tools, tool_choice={"type": "function"})
    assert (raised.value.param, raised.value.code) == (
        "tool_choice.function.name",
        "missing_required_parameter",
    )


@pytest.mark.parametrize("name", ["tools", "functions"])
@pytest.mark.parametrize("value", [{}, "", 0, False, {"a": 1}, "x", 5, 1.5, True])
def test_tools_that_are_no_list_are_named_also_where_they_are_empty(value: Any, name: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(**{name: value})
    assert (raised.value.param, raised.value.code) == (name, "invalid_type")


# formats: nothing of a caller's schema may crash or hold up the worker

ENDLESS = "a" * 40 + "!"
PATTERN = "^(a+)+$"


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        # a $schema below the root brings jsonschema's own class back, with its patterns
        ({"properties": {"a": {"$schema": D, "pattern": PATTERN}}}, {"a": ENDLESS}),
        (
            {
                "$schema": D,
                "properties": {"a": {"$ref": "#"}},
                "propertyNames": {"pattern": PATTERN},
            },
            {"a": {ENDLESS: 1}},
        ),
        # additionalProperties and unevaluatedProperties run patternProperties
        ({"patternProperties": {PATTERN: {}}, "additionalProperties": False}, {ENDLESS: 1}),
        ({"patternProperties": {PATTERN: {}}, "unevaluatedProperties": False}, {ENDLESS: 1}),
        ({"patternProperties": {PATTERN: {}}}, {ENDLESS: 1}),
    ],
)
def test_no_pattern_is_run_by_any_way_in(schema: Any, answer: Any) -> None:
    check(answer, {"type": "object", **schema})


def laughs(n: int) -> Any:
    return {
        "type": "object",
        "$defs": {
            **{f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(n)},
            f"d{n}": {},
        },
        "properties": {"a": {"$ref": "#/$defs/d0"}},
    }


def test_references_that_double_are_given_up() -> None:
    assert check({"a": 1}, laughs(40)) == "its schema cannot be followed"


def test_a_long_list_of_objects_without_repetition_is_not_compared_pair_by_pair() -> None:
    schema = {"type": "object", "properties": {"a": {"uniqueItems": True}}}
    check({"a": [{"x": i} for i in range(5000)]}, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": [], "type": "object"},
        {"$schema": 5, "type": "object"},
        {
            "$schema": "http://json-schema.org/draft-03/schema#",
            "type": "object",
            "properties": {"a": {}},
            "additionalProperties": False,
            "required": True,
        },
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "additionalProperties": False,
            "$defs": [],
        },
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "object",
            "properties": {"a": {"$ref": {}}},
        },
        {"type": "object", "title": "x", "properties": {"a": {"$ref": "#/title"}}},
        {"type": "object", "required": ["x"], "properties": {"a": {"$ref": "#/required"}}},
    ],
)
def test_a_strange_schema_is_refused_or_checked_and_never_a_defect(schema: Any) -> None:
    try:
        parsed = parse_format(
            {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        )
    except InvalidRequest as error:
        assert error.param is not None
        assert error.param.startswith("response_format")
    else:
        parsed.accept('{"a": 1}')


def deep(n: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object", "pattern": "x"}
    for _ in range(n):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize("n", [60, 100, 127, 200, 400])
def test_a_deep_schema_is_refused_or_taken_and_never_a_defect(n: Any) -> None:
    try:
        parse_format({"type": "json_schema", "json_schema": {"name": "n", "schema": deep(n)}})
    except InvalidRequest as error:
        assert error.code == "invalid_json_schema"


@pytest.mark.parametrize("n", [60, 127, 200, 400])
def test_deep_parameters_are_refused_or_taken_and_never_a_defect(n: Any) -> None:
    try:
        (tool,) = parse_tools(
            [{"type": "function", "function": {"name": "f", "parameters": deep(n)}}]
        ).offered
    except InvalidRequest as error:
        assert error.code == "invalid_function_parameters"
    else:
        json.dumps(to_dynamic_tool(tool))


def test_a_wide_schema_does_not_hold_up_the_worker() -> None:
    schema = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(20_000)}}
    try:
        parse_format({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    except InvalidRequest as error:
        assert error.code == "invalid_json_schema"


# choice


DONE = TurnEnded(TurnStatus.COMPLETED)
OBJECT = AnswerConstraints(
    output=parse_format({"type": "json_object"}), can_check=True, max_tokens=2, prompt_tokens=7
)


def test_the_usage_of_the_first_try_is_not_that_of_the_second() -> None:
    choice = Choice(0, OBJECT)
    choice.feed(TextDelta("i", "no"))
    choice.feed(UsageUpdated(Usage(50, 0, 9, 0, 59)))
    with pytest.raises(RetryWithInstruction):
        choice.feed(DONE)
    for _ in range(3):
        choice.feed(TextDelta("i", "{"))
    assert choice.cause is Cause.TOKEN_LIMIT
    assert choice.is_usage_estimated


def test_the_reasoning_of_the_first_try_is_not_given_back() -> None:
    choice = Choice(0, AnswerConstraints(offers_tools=True, requires_tool=True))
    choice.feed(RawItem({"type": "reasoning", "encrypted_content": "x"}))
    with pytest.raises(RetryWithInstruction):
        choice.feed(DONE)
    assert choice.items == []


def test_a_stop_sequence_is_no_way_around_a_required_call() -> None:
    choice = Choice(0, AnswerConstraints(offers_tools=True, requires_tool=True, stops=("END",)))
    with pytest.raises((RetryWithInstruction, UpstreamError)):
        choice.feed(TextDelta("i", "I will not END"))


def test_an_answer_that_a_stop_cut_is_checked_too() -> None:
    choice = Choice(0, AnswerConstraints(output=OBJECT.output, can_check=True, stops=("END",)))
    choice.feed(TextDelta("i", "no JSON END"))
    with pytest.raises((RetryWithInstruction, UpstreamError)):
        choice.feed(DONE)


def test_a_turn_that_ends_with_its_calls_has_done_what_was_required() -> None:
    """codex ends a turn whose response broke off after a call without rawResponse/completed."""
    choice = Choice(0, AnswerConstraints(offers_tools=True, requires_tool=True))
    choice.feed(RawItem({"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}))
    assert choice.feed(DONE)[-1] == Ended(0, Cause.CALLS)


# nobody waits for one request: what was mended took many times as long, on any machine


_GUARD_S = 2.5


def unions(n: int, schema: Any) -> Any:
    """Many unions of the same two large definitions."""
    names = [f"u{k}" for k in range(n)]
    union = {"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]}
    return {
        "type": "object",
        "properties": dict.fromkeys(names, union),
        "required": names,
        "additionalProperties": False,
        "$defs": {"a": schema("a"), "b": schema("b")},
    }


def wide_object(kind: str) -> Any:
    names = [f"m{k}" for k in range(400)]
    properties = {name: {"enum": ["v"] * 4} for name in names} | {"z": {"const": kind}}
    return {
        "type": "object",
        "properties": properties,
        "required": [*names, "z"],
        "additionalProperties": False,
    }


def wide_enum(kind: str) -> Any:
    return {"type": "string", "enum": [f"{kind}{k}" for k in range(4900)]}


def attached(data: str) -> Any:
    return {
        "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": data}}]}]
    }


def formatted(schema: Any) -> Any:
    wrapper = {"name": "x", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": wrapper}}


@pytest.mark.parametrize(
    "members",
    [
        attached("data:text/plain," + "%41" * 8_000_000),
        attached("data:text/plain," + "% 1" * 8_000_000),
        attached("data:text/plain;base64," + "%41" * 8_000_000),
        attached("data:text/plain" + ";a=b" * 6_000_000 + ",x"),
        attached("data:text/plain" + ';a="b;' * 4_000_000),
        attached("data:text/plain," + "```a" * 6_000_000),
        formatted(unions(1000, wide_object)),
        formatted(unions(1000, wide_enum)),
        {f"unknown{k}": k for k in range(1_000_000)},
    ],
    ids=[
        "escapes",
        "signs",
        "base64",
        "head",
        "quotes",
        "fences",
        "objects",
        "enums",
        "names",
    ],
)
def test_no_large_request_keeps_all_others_waiting(members: Any) -> None:
    body = {"model": "m", "messages": [HI], **members}
    begun = time.process_time()
    with suppress(InvalidRequest):
        parse_request(body, max_choices=8, shows_reasoning=False)
    assert time.process_time() - begun < _GUARD_S


@pytest.mark.parametrize("text", ["`" * 1_000_000, "a``` " * 200_000, "\n" * 1_000_000])
def test_no_fenced_answer_does_either(text: str) -> None:
    begun = time.process_time()
    fence = FenceFilter()
    fence.feed("```json\n")
    fence.feed(text)
    assert time.process_time() - begun < _GUARD_S
