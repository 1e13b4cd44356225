import copy
from typing import Any

import pytest

from app.api.chat_completions.schemas import IGNORED, REFUSED, ChatRequest, parse_request
from app.errors import InvalidRequest

HI = {"role": "user", "content": "hi"}
LEAST: dict[str, Any] = {"model": "gpt", "messages": [HI]}
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}

REQUIRED = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
UNSUPPORTED = "unsupported_parameter"

OPTIONAL = sorted({*IGNORED, *REFUSED, "stream", "stream_options", "reasoning_effort", "brand_new"})


def parse(**members: Any) -> ChatRequest:
    return parse_request({**LEAST, **members})


def refusal(**members: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        parse(**members)
    return raised.value


def test_the_least_request_is_this() -> None:
    assert parse_request(LEAST) == ChatRequest(
        model="gpt", items=(ITEM,), stream=False, include_usage=False, effort=None, ignored=()
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
    ],
)
def test_what_is_honoured_is_read(members: dict[str, Any], attribute: str, value: Any) -> None:
    assert getattr(parse(**members), attribute) == value


# Required


@pytest.mark.parametrize("name", ["model", "messages"])
@pytest.mark.parametrize("absent", [True, False])
def test_a_required_field_is_missing_when_absent_and_when_null(name: str, *, absent: bool) -> None:
    body = {key: value for key, value in LEAST.items() if key != name}
    with pytest.raises(InvalidRequest) as raised:
        parse_request(body if absent else {**body, name: None})
    assert (raised.value.param, raised.value.code) == (name, REQUIRED)


def test_the_model_is_asked_for_first() -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_request({})
    assert raised.value.message == "Missing required parameter: 'model'."


def test_an_empty_conversation_is_refused() -> None:
    error = refusal(messages=[])
    assert (error.param, error.code) == ("messages", "empty_array")


def test_a_message_that_is_wrong_is_named() -> None:
    error = refusal(messages=[HI, {"role": "tool", "content": "42"}])
    assert (error.param, error.code) == ("messages[1].role", VALUE)


# Types

NOT_STRINGS: list[Any] = [5, 1.5, True, [], {}]
NOT_NUMBERS: list[Any] = ["1", True, False, [], {}]

WRONG_TYPES: dict[str, tuple[str, list[Any]]] = {
    "model": ("a string", NOT_STRINGS),
    "messages": ("an array of messages", ["hi", 5, True, {"role": "user"}]),
    "stream": ("a boolean", ["true", 0, 1, 1.0, []]),
    "stream_options": ("an object", [True, "x", 5, []]),
    "reasoning_effort": ("a string", NOT_STRINGS),
    "temperature": ("a number", NOT_NUMBERS),
    "top_p": ("a number", NOT_NUMBERS),
    "presence_penalty": ("a number", NOT_NUMBERS),
    "frequency_penalty": ("a number", NOT_NUMBERS),
    "max_tokens": ("an integer", [*NOT_NUMBERS, 1.5, 1.0]),
    "max_completion_tokens": ("an integer", [*NOT_NUMBERS, 1.5, 1.0]),
    "seed": ("an integer", [*NOT_NUMBERS, 1.5]),
    "n": ("an integer", [*NOT_NUMBERS, 1.0]),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, (_, some) in WRONG_TYPES.items() for value in some]
)
def test_a_value_of_the_wrong_type_is_named(name: str, value: Any) -> None:
    error = refusal(**{name: value})
    assert (error.param, error.code) == (name, TYPE)
    assert error.message.startswith(f"Invalid type for '{name}': expected {WRONG_TYPES[name][0]}, ")


# Ranges

RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "max_tokens": (1, 2**40),
    "max_completion_tokens": (1, 2**40),
    "seed": (-(2**63), 2**63 - 1),
}


@pytest.mark.parametrize(("name", "bounds"), RANGES.items())
def test_a_number_may_be_each_of_its_bounds(name: str, bounds: tuple[float, float]) -> None:
    for bound in bounds:
        assert set(parse(**{name: bound}).ignored) <= {name}


@pytest.mark.parametrize(("name", "bounds"), RANGES.items())
def test_a_number_beyond_its_bounds_is_refused(name: str, bounds: tuple[float, float]) -> None:
    low, high = bounds
    for beyond in (low - 1, high + 1):
        error = refusal(**{name: beyond})
        assert (error.param, error.code) == (name, VALUE)


@pytest.mark.parametrize("value", [2.0001, -0.0001, float("inf")])
def test_a_fraction_beyond_the_bounds_is_refused(value: float) -> None:
    assert refusal(temperature=value).param == "temperature"


def test_a_number_that_is_none_is_in_no_range() -> None:
    assert refusal(temperature=float("nan")).param == "temperature"


def test_the_refusal_of_a_number_says_what_would_do() -> None:
    sentence = "Invalid 'temperature': expected a value from 0 to 2, but got 2.5 instead."
    assert refusal(temperature=2.5).message == sentence


@pytest.mark.parametrize(("n", "code"), [(0, VALUE), (129, VALUE), (2, UNSUPPORTED)])
def test_a_number_of_choices_is_one_or_refused(n: int, code: str) -> None:
    assert (refusal(n=n).param, refusal(n=n).code) == ("n", code)


# Null means absent, and unknown means nothing


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_is_absent(name: str) -> None:
    assert parse(**{name: None}) == parse_request(LEAST)


@pytest.mark.parametrize("value", [5, "x", [{}], {"a": 1}, True])
def test_an_unknown_field_is_dropped(value: Any) -> None:
    assert parse(brand_new=value) == parse_request(LEAST)


# Ignored

EFFECTIVE: dict[str, list[Any]] = {
    "temperature": [0, 0.7, 2],
    "top_p": [0.1, 0],
    "seed": [0, 42],
    "presence_penalty": [0.5, -2],
    "frequency_penalty": [0.5, 2],
    "logit_bias": [{"50256": -100}],
    "max_tokens": [1, 4096],
    "max_completion_tokens": [1, 4096],
    "metadata": [{"a": "b"}],
    "parallel_tool_calls": [False],
    "prediction": [{"type": "content", "content": "x"}],
    "prompt_cache_key": ["key"],
    "prompt_cache_retention": ["24h"],
    "safety_identifier": ["someone"],
    "service_tier": ["priority", "flex"],
    "store": [True],
    "user": ["someone", ""],
    "verbosity": ["low", "high"],
    "web_search_options": [{}],
}

NEUTRAL: dict[str, list[Any]] = {
    "temperature": [1, 1.0],
    "top_p": [1, 1.0],
    "presence_penalty": [0, 0.0],
    "frequency_penalty": [0, 0.0],
    "logit_bias": [{}],
    "metadata": [{}],
    "parallel_tool_calls": [True],
    "service_tier": ["auto", "default"],
    "store": [False],
    "verbosity": ["medium"],
    "function_call": ["none", "auto"],
    "functions": [[]],
    "logprobs": [False],
    "modalities": [["text"]],
    "n": [1],
    "response_format": [{"type": "text"}],
    "stop": [[], ""],
    "tool_choice": ["none", "auto"],
    "tools": [[]],
    "top_logprobs": [0],
}

CONTRADICTING: dict[str, list[Any]] = {
    "audio": [{"voice": "alloy", "format": "wav"}, {}],
    "function_call": [{"name": "f"}],
    "functions": [[{"name": "f"}]],
    "logprobs": [True],
    "modalities": [["text", "audio"], ["audio"], []],
    "n": [2, 128],
    "response_format": [{"type": "json_object"}, {"type": "json_schema", "json_schema": {}}],
    "stop": ["x", ["x"], ["x", "y"]],
    "tool_choice": ["required", {"type": "function", "function": {"name": "f"}}],
    "tools": [[{"type": "function", "function": {"name": "f"}}]],
    "top_logprobs": [1, 20],
}


def rows(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in table.items() for value in values]


def test_the_tables_have_every_field_that_is_known() -> None:
    assert set(EFFECTIVE) == set(IGNORED)
    assert set(CONTRADICTING) == set(REFUSED)
    assert not set(IGNORED) & set(REFUSED)
    harmless = {**IGNORED, **REFUSED}
    assert set(NEUTRAL) == {name for name, values in harmless.items() if values}


@pytest.mark.parametrize(("name", "value"), rows(EFFECTIVE))
def test_what_is_ignored_is_named(name: str, value: Any) -> None:
    assert parse(**{name: value}).ignored == (name,)


@pytest.mark.parametrize(("name", "value"), rows(NEUTRAL))
def test_a_neutral_value_passes_and_is_not_worth_a_word(name: str, value: Any) -> None:
    assert parse(**{name: value}) == parse_request(LEAST)


@pytest.mark.parametrize(("name", "value"), rows(CONTRADICTING))
def test_what_would_change_the_answer_is_refused(name: str, value: Any) -> None:
    error = refusal(**{name: value})
    assert (error.param, error.code) == (name, UNSUPPORTED)
    assert error.message == (f"Unsupported parameter: '{name}' is not supported by this gateway.")


def test_all_that_is_ignored_is_named_in_one_order() -> None:
    request = parse(user="someone", seed=1, temperature=0, top_p=0.5)
    assert request.ignored == ("temperature", "top_p", "seed", "user")
    again = parse(top_p=0.5, temperature=0, seed=1, user="someone")
    assert again.ignored == request.ignored


@pytest.mark.parametrize(
    ("messages", "ignored"),
    [
        ([HI], ()),
        ([{**HI, "name": None}], ()),
        ([{**HI, "name": ""}], ()),
        ([HI, {**HI, "name": "ann"}], ("messages.name",)),
        ([{**HI, "name": "ann"}, {**HI, "name": "bob"}], ("messages.name",)),
    ],
)
def test_the_name_of_a_speaker_is_ignored_and_said_so_once(
    messages: list[Any], ignored: tuple[str, ...]
) -> None:
    assert parse(messages=messages).ignored == ignored


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


def test_the_body_is_left_alone() -> None:
    body = {**LEAST, "stream": True, "stream_options": {"include_usage": True}, "user": None}
    before = copy.deepcopy(body)
    parse_request(body)
    assert body == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("logprobs", 0), ("top_logprobs", False), ("logprobs", "x"), ("top_logprobs", "x")],
)
def test_a_flag_is_no_number_and_a_number_no_flag(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_request({"model": "m", "messages": [{"role": "user", "content": "h"}], name: value})
    assert raised.value.code == "invalid_type"
