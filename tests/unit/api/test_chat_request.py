import copy
from typing import Any

import pytest

from app.answers.constraints import AnswerConstraints
from app.answers.tools import Tool, alias_of, to_dynamic_tool
from app.api.chat_completions.request import ChatRequest, RequestFields, parse_request
from app.api.output_formats import parse_format
from app.errors import InvalidRequest

HI = {"role": "user", "content": "hi"}
LEAST: dict[str, Any] = {"model": "gpt", "messages": [HI]}
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}

REQUIRED = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"

MAX_CHOICES = 8


def parse(**members: Any) -> ChatRequest:
    body = {**LEAST, **members}
    before = copy.deepcopy(body)
    try:
        return parse_request(body, max_choices=MAX_CHOICES, shows_reasoning=False)
    finally:
        assert body == before


def refusal(**members: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        parse(**members)
    return raised.value


def told(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "developer", "content": content}


def test_the_least_request_is_this() -> None:
    assert parse() == ChatRequest(
        model="gpt",
        items=(ITEM,),
        instructions=(),
        image_fields={},
        stream=False,
        include_usage=False,
        n=1,
        effort=None,
        service_tier=None,
        verbosity=None,
        dynamic_tools=(),
        output_schema=None,
        constraints=AnswerConstraints(names={}, can_check=True, prompt_tokens=1, separator="\n\n"),
        legacy_calls=False,
        ignored=(),
    )


@pytest.mark.parametrize(
    ("members", "attribute", "value"),
    [
        ({"model": ""}, "model", ""),
        ({"model": "other"}, "model", "other"),
        ({"stream": True}, "stream", True),
        ({"stream": False}, "stream", False),
        ({"reasoning_effort": "high"}, "effort", "high"),
        ({"messages": [HI, HI]}, "items", (ITEM, ITEM)),
        ({"n": 1}, "n", 1),
        ({"n": MAX_CHOICES}, "n", MAX_CHOICES),
        ({"service_tier": "auto"}, "service_tier", None),
        ({"service_tier": "default"}, "service_tier", None),
        ({"service_tier": "flex"}, "service_tier", "flex"),
        ({"service_tier": "priority"}, "service_tier", "priority"),
        ({"service_tier": "fast"}, "service_tier", "priority"),
        ({"service_tier": "scale"}, "service_tier", None),
        ({"service_tier": "scale"}, "ignored", ("service_tier",)),
        ({"reasoning": {"effort": "high"}}, "effort", "high"),
        ({"reasoning": {"effort": "high"}}, "fields", RequestFields("reasoning.effort")),
        ({"reasoning": {"effort": None}}, "effort", None),
        ({"reasoning": {}}, "ignored", ()),
        ({"reasoning": {"effort": "high"}, "reasoning_effort": "low"}, "effort", "low"),
        (
            {"reasoning": {"effort": "high"}, "reasoning_effort": "low"},
            "ignored",
            ("reasoning.effort",),
        ),
        ({"verbosity": "low"}, "verbosity", "low"),
        ({"verbosity": "medium"}, "verbosity", "medium"),
        ({"seed": 1, "user": "x"}, "ignored", ("seed", "user")),
    ],
)
def test_what_is_honoured_is_read(members: dict[str, Any], attribute: str, value: Any) -> None:
    assert getattr(parse(**members), attribute) == value


@pytest.mark.parametrize(
    ("members", "rule", "value"),
    [
        ({}, "max_tokens", None),
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_completion_tokens": 6}, "max_tokens", 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", 6),
        ({"max_tokens": 5, "max_completion_tokens": None}, "max_tokens", 5),
        ({"stop": None}, "stops", ()),
        ({"stop": ""}, "stops", ()),
        ({"stop": []}, "stops", ()),
        ({"stop": "x"}, "stops", ("x",)),
        ({"stop": ["x"]}, "stops", ("x",)),
        ({"stop": ["a", "", "b"]}, "stops", ("a", "b")),
        ({"stop": ["a", "b", "c", "\n\n"]}, "stops", ("a", "b", "c", "\n\n")),
        ({"parallel_tool_calls": False}, "parallel_calls", False),
        ({"parallel_tool_calls": True}, "parallel_calls", True),
        ({"messages": [{"role": "user", "content": "x" * 400}]}, "prompt_tokens", 101),
    ],
)
def test_the_rules_of_an_answer_are_read(members: dict[str, Any], rule: str, value: Any) -> None:
    assert getattr(parse(**members).constraints, rule) == value


@pytest.mark.parametrize("shows_reasoning", [True, False])
def test_whether_reasoning_is_shown_is_the_gateway_s_to_say(*, shows_reasoning: bool) -> None:
    request = parse_request(LEAST, max_choices=1, shows_reasoning=shows_reasoning)
    assert request.constraints.shows_reasoning is shows_reasoning


def test_where_there_is_a_default_no_model_is_asked_for() -> None:
    body = {"messages": [HI]}
    request = parse_request(body, max_choices=1, shows_reasoning=False, needs_model=False)
    assert request.model is None


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        (
            {"messages": [HI, {"role": "tool", "content": "42"}]},
            "messages[1].tool_call_id",
            REQUIRED,
        ),
        ({"messages": [{"role": "nobody"}]}, "messages[0].role", VALUE),
        ({"n": 0}, "n", VALUE),
        ({"n": MAX_CHOICES + 1}, "n", "integer_above_max_value"),
        ({"n": 128}, "n", "integer_above_max_value"),
        ({"max_tokens": 0}, "max_tokens", VALUE),
        ({"max_completion_tokens": -1}, "max_completion_tokens", VALUE),
        ({"service_tier": "turbo"}, "service_tier", VALUE),
        ({"reasoning": "high"}, "reasoning", TYPE),
        ({"reasoning": {"effort": 5}}, "reasoning.effort", TYPE),
        ({"verbosity": "max"}, "verbosity", VALUE),
        ({"stop": 5}, "stop", TYPE),
        ({"stop": {}}, "stop", TYPE),
        ({"stop": ["a", 5]}, "stop[1]", TYPE),
        ({"stop": ["a", None]}, "stop[1]", TYPE),
        ({"stop": [["a"]]}, "stop[0]", TYPE),
        ({"stop": list("abcdefghijklmnopq")}, "stop", "array_above_max_length"),
        ({"stop": [""] * 17}, "stop", "array_above_max_length"),
        ({"stop": "x" * 1001}, "stop", "string_above_max_length"),
        ({"stop": ["a", "x" * 1001]}, "stop[1]", "string_above_max_length"),
        ({"response_format": "json"}, "response_format", TYPE),
        ({"response_format": {"type": "json"}}, "response_format.type", VALUE),
        ({"audio": {}}, "audio", "unsupported_parameter"),
    ],
)
def test_a_refusal_names_the_field(members: dict[str, Any], param: str, code: str) -> None:
    error = refusal(**members)
    assert (error.param, error.code) == (param, code)


# Tools

WEATHER = {"name": "get_weather", "description": "d", "parameters": {"type": "object"}}
EXEC = {"name": "functions.exec"}
EMPTY = {"type": "object", "properties": {}}
SPECS = (
    to_dynamic_tool(Tool("get_weather", "d", EMPTY)),
    to_dynamic_tool(Tool("functions.exec", "", EMPTY)),
)
NAMES = {"get_weather": "get_weather", alias_of("functions.exec"): "functions.exec"}
CALL_ONE = told("In each of your turns you must call one of the functions; do not answer in words.")


def call_this(name: str) -> dict[str, Any]:
    return told(f"In each of your turns you must call the function {name}; do not answer in words.")


def tools(*functions: Any) -> list[Any]:
    return [{"type": "function", "function": function} for function in functions]


def named(name: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: Any, *names: Any) -> dict[str, Any]:
    """Return a choice of some of the tools."""
    chosen = {"mode": mode, "tools": [named(name) for name in names]}
    return {"type": "allowed_tools", "allowed_tools": chosen}


BOTH = tools(WEATHER, EXEC)
LEGACY = [WEATHER, EXEC]

# given, what is offered, whether a call is required, what the model is told
CHOICES: list[tuple[dict[str, Any], Any, bool, Any]] = [
    ({}, SPECS, False, None),
    ({"tool_choice": None}, SPECS, False, None),
    ({"tool_choice": "auto"}, SPECS, False, None),
    ({"tool_choice": "none"}, (), False, None),
    ({"tool_choice": "required"}, SPECS, True, CALL_ONE),
    ({"tool_choice": named("get_weather")}, SPECS[:1], True, call_this("get_weather")),
    (
        {"tool_choice": named("functions.exec")},
        SPECS[1:],
        True,
        call_this(alias_of("functions.exec")),
    ),
    ({"tool_choice": allowed("auto", "functions.exec")}, SPECS[1:], False, None),
    ({"tool_choice": allowed("auto", "functions.exec", "get_weather")}, SPECS, False, None),
    ({"tool_choice": allowed("required", "get_weather")}, SPECS[:1], True, CALL_ONE),
    ({"tool_choice": allowed("required")}, (), False, None),
]
LEGACY_CHOICES: list[tuple[dict[str, Any], Any, bool, Any]] = [
    ({}, SPECS, False, None),
    ({"function_call": None}, SPECS, False, None),
    ({"function_call": "auto"}, SPECS, False, None),
    ({"function_call": "none"}, (), False, None),
    ({"function_call": {"name": "get_weather"}}, SPECS[:1], True, call_this("get_weather")),
    (
        {"function_call": {"name": "functions.exec"}},
        SPECS[1:],
        True,
        call_this(alias_of("functions.exec")),
    ),
]


@pytest.mark.parametrize(
    ("given", "offered", "is_required", "instruction", "is_legacy"),
    [
        *(({"tools": BOTH, **given}, *rest, False) for given, *rest in CHOICES),
        *(({"functions": LEGACY, **given}, *rest, True) for given, *rest in LEGACY_CHOICES),
        # An empty list is none.
        ({"functions": LEGACY, "tools": []}, SPECS, False, None, True),
    ],
)
def test_a_choice_of_tools_is_read(
    given: dict[str, Any], offered: Any, instruction: Any, *, is_required: bool, is_legacy: bool
) -> None:
    request = parse(**given)
    assert request.dynamic_tools == offered
    assert request.constraints.offers_tools is bool(offered)
    assert request.constraints.requires_tool is is_required
    assert request.items == (ITEM,)
    assert request.instructions == (() if instruction is None else (instruction,))
    # Also of what is not offered now: the model may know it from the history.
    assert dict(request.constraints.names) == NAMES
    assert request.legacy_calls is is_legacy
    # The legacy form has room for one call only.
    assert request.constraints.parallel_calls is not is_legacy
    assert not request.constraints.checks_output


@pytest.mark.parametrize("name", ["tools", "functions"])
def test_no_tools_are_offered_where_there_are_none(name: str) -> None:
    request = parse(**{name: []})
    assert request.dynamic_tools == ()
    assert not request.constraints.offers_tools


@pytest.mark.parametrize("name", ["tool_choice", "function_call"])
@pytest.mark.parametrize("choice", ["none", "auto", None])
def test_without_tools_there_is_nothing_to_choose(name: str, choice: str | None) -> None:
    assert parse(**{name: choice}) == parse()


ALLOWED = "tool_choice.allowed_tools"
CHOICE_REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    ({"tools": BOTH, "tool_choice": "any"}, "tool_choice", VALUE),
    ({"tools": BOTH, "tool_choice": ""}, "tool_choice", VALUE),
    ({"tools": BOTH, "tool_choice": 5}, "tool_choice", VALUE),
    ({"tools": BOTH, "tool_choice": []}, "tool_choice", VALUE),
    ({"tools": BOTH, "tool_choice": {}}, "tool_choice.type", REQUIRED),
    ({"tools": BOTH, "tool_choice": {"type": "custom"}}, "tool_choice.type", VALUE),
    ({"tools": BOTH, "tool_choice": {"type": "allowed_tools"}}, ALLOWED, REQUIRED),
    ({"tools": BOTH, "tool_choice": {**allowed("auto"), "allowed_tools": 5}}, ALLOWED, TYPE),
    ({"tools": BOTH, "tool_choice": allowed(None)}, f"{ALLOWED}.mode", REQUIRED),
    ({"tools": BOTH, "tool_choice": allowed("none")}, f"{ALLOWED}.mode", VALUE),
    ({"tools": BOTH, "tool_choice": allowed([])}, f"{ALLOWED}.mode", VALUE),
    (
        {"tools": BOTH, "tool_choice": allowed("auto", "get_weather", "nope")},
        f"{ALLOWED}.tools[1].function.name",
        VALUE,
    ),
    (
        {"tools": BOTH, "tool_choice": allowed("auto", None)},
        f"{ALLOWED}.tools[0].function.name",
        REQUIRED,
    ),
    *(
        (
            {
                "tools": BOTH,
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": given},
                },
            },
            f"{ALLOWED}.tools{at}",
            code,
        )
        for given, at, code in (
            (None, "", REQUIRED),
            (5, "", TYPE),
            ([5], "[0]", TYPE),
            ([{}], "[0].type", REQUIRED),
        )
    ),
    ({"functions": LEGACY, "function_call": allowed("auto")}, "function_call.name", REQUIRED),
    ({"tools": BOTH, "tool_choice": {"type": []}}, "tool_choice.type", VALUE),
    (
        {"tools": BOTH, "tool_choice": {"type": "function", "function": "f"}},
        "tool_choice.function",
        TYPE,
    ),
    ({"tools": BOTH, "tool_choice": named(None)}, "tool_choice.function.name", REQUIRED),
    ({"tools": BOTH, "tool_choice": named(5)}, "tool_choice.function.name", TYPE),
    ({"tools": BOTH, "tool_choice": named("nope")}, "tool_choice.function.name", VALUE),
    ({"tools": BOTH, "tool_choice": named("")}, "tool_choice.function.name", VALUE),
    ({"functions": LEGACY, "function_call": "required"}, "function_call", VALUE),
    ({"functions": LEGACY, "function_call": 5}, "function_call", VALUE),
    ({"functions": LEGACY, "function_call": {}}, "function_call.name", REQUIRED),
    ({"functions": LEGACY, "function_call": {"name": 5}}, "function_call.name", TYPE),
    ({"functions": LEGACY, "function_call": {"name": "nope"}}, "function_call.name", VALUE),
    ({"tool_choice": "required"}, "tool_choice", VALUE),
    ({"tools": [], "tool_choice": "required"}, "tool_choice", VALUE),
    ({"function_call": "required"}, "function_call", VALUE),
    ({"tools": "f"}, "tools", TYPE),
    ({"tools": [{}]}, "tools[0].type", REQUIRED),
    ({"tools": tools(WEATHER, WEATHER)}, "tools[1].function.name", VALUE),
    ({"functions": "f"}, "functions", TYPE),
    ({"functions": {"name": "f"}}, "functions", TYPE),
    ({"functions": [5]}, "functions[0]", TYPE),
    ({"functions": [WEATHER, {}]}, "functions[1].name", REQUIRED),
    ({"functions": [WEATHER, {"name": "a b"}]}, "functions[1].name", VALUE),
    ({"functions": [{**WEATHER, "parameters": 5}]}, "functions[0].parameters", TYPE),
    ({"functions": [WEATHER, WEATHER]}, "functions[1].name", VALUE),
]


@pytest.mark.parametrize(("given", "param", "code"), CHOICE_REFUSALS)
def test_a_choice_that_cannot_be_kept_is_named(
    given: dict[str, Any], param: str, code: str
) -> None:
    error = refusal(**given)
    assert (error.param, error.code) == (param, code)
    assert len(error.message) < 300


def test_a_long_name_is_not_repeated_whole() -> None:
    assert len(refusal(tools=BOTH, tool_choice=named("x" * 5000)).message) < 200


# Formats

OPEN = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
CLOSED_SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
CLOSED = {"type": "json_schema", "json_schema": {"name": "n", "schema": CLOSED_SCHEMA}}
OBJECT = {"type": "json_object"}


def test_a_strict_schema_goes_to_the_upstream_and_is_nothing_to_check() -> None:
    request = parse(response_format=CLOSED)
    assert request.output_schema == CLOSED_SCHEMA
    assert request.items == (ITEM,)
    assert not request.constraints.checks_output


@pytest.mark.parametrize("given", [OBJECT, OPEN])
def test_another_format_is_asked_for_and_checked(given: dict[str, Any]) -> None:
    output = parse_format(given)
    assert output.instruction is not None
    request = parse(response_format=given)
    assert request.instructions == (told(output.instruction),)
    assert request.output_schema is None
    assert request.constraints.output == output
    assert request.constraints.checks_output


@pytest.mark.parametrize("given", [OBJECT, OPEN])
@pytest.mark.parametrize("members", [{"stream": True}, {"tools": BOTH}, {"functions": LEGACY}])
def test_a_stream_or_an_answer_that_may_be_a_call_is_not_checked(
    given: dict[str, Any], members: dict[str, Any]
) -> None:
    assert not parse(response_format=given, **members).constraints.checks_output


def test_a_choice_of_no_tools_leaves_the_answer_to_be_checked() -> None:
    request = parse(response_format=OBJECT, tools=BOTH, tool_choice="none")
    assert request.constraints.checks_output


def test_text_is_no_format() -> None:
    assert parse(response_format={"type": "text"}) == parse()


def test_instructions_are_no_part_of_what_the_client_said() -> None:
    request = parse(response_format=OBJECT, tools=BOTH, tool_choice="required")
    assert request.items == (ITEM,)
    assert request.instructions[0] == CALL_ONE
    assert request.instructions[1]["role"] == "developer"
    assert len(request.instructions) == 2


# stream_options


@pytest.mark.parametrize(
    ("options", "include_usage"),
    [
        ({}, False),
        ({"include_usage": True}, True),
        ({"include_usage": False}, False),
        ({"include_usage": None}, False),
        ({"include_obfuscation": True}, False),
    ],
)
def test_a_stream_has_options(options: dict[str, Any], *, include_usage: bool) -> None:
    assert parse(stream=True, stream_options=options).include_usage is include_usage


@pytest.mark.parametrize("stream", [None, False])
@pytest.mark.parametrize("options", [{}, {"include_usage": True}])
def test_without_a_stream_there_are_no_options_of_one(
    options: dict[str, Any], *, stream: bool | None
) -> None:
    error = refusal(stream=stream, stream_options=options)
    assert (error.param, error.code) == ("stream_options", VALUE)
    assert "only allowed when 'stream' is enabled" in error.message


@pytest.mark.parametrize("value", [1, 0, "true", [], {}])
def test_an_option_of_the_wrong_type_is_named(value: Any) -> None:
    error = refusal(stream=True, stream_options={"include_usage": value})
    assert (error.param, error.code) == ("stream_options.include_usage", TYPE)


def test_what_openais_sdk_makes_of_our_answers_is_no_parameter() -> None:
    """`parse()` of openai-python adds these to the message that callers append to their history."""
    function = {"name": "f", "arguments": "{}", "parsed_arguments": {"a": 1}}
    call = {"id": "c", "type": "function", "index": 0, "function": function}
    answer = {"role": "assistant", "content": None, "tool_calls": [call], "parsed": {"a": 1}}
    result = {"role": "tool", "tool_call_id": "c", "content": "42"}
    assert parse(messages=[HI, answer, result]).ignored == ()
