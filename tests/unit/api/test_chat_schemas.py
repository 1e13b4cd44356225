import copy
from typing import Any

import pytest

from app.api.chat_completions.schemas import IGNORED, REFUSED, ChatCompletionSchema, check_fields
from app.errors import InvalidRequest

HI = {"role": "user", "content": "hi"}
LEAST: dict[str, Any] = {"model": "gpt", "messages": [HI]}

REQUIRED = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
UNSUPPORTED = "unsupported_parameter"

KNOWN = set(ChatCompletionSchema().fields)
OPTIONAL = sorted({*IGNORED, *REFUSED, *KNOWN, "brand_new"} - {"model", "messages"})


def given_of(**members: Any) -> dict[str, Any]:
    return check_fields({**LEAST, **members})[0]


def ignored_of(**members: Any) -> tuple[str, ...]:
    return check_fields({**LEAST, **members})[1]


def refusal(**members: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        check_fields({**LEAST, **members})
    return raised.value


def test_the_least_request_is_this() -> None:
    assert check_fields(LEAST) == (LEAST, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("stream", True),
        ("stream", False),
        ("stream_options", {"include_usage": 5}),
        ("reasoning_effort", "high"),
        *(("service_tier", tier) for tier in ("auto", "default", "flex", "priority", "fast")),
        *(("verbosity", verbosity) for verbosity in ("low", "medium", "high")),
        ("n", 8),
        ("max_tokens", 5),
        ("max_completion_tokens", 5),
        ("parallel_tool_calls", False),
        # Read by others, who know more of them.
        *((name, ["anything"]) for name in ("tools", "functions", "response_format", "stop")),
        *((name, "anything") for name in ("tool_choice", "function_call")),
    ],
)
def test_what_is_honoured_is_handed_on(name: str, value: Any) -> None:
    assert check_fields({**LEAST, name: value}) == ({**LEAST, name: value}, ())


# Required


@pytest.mark.parametrize("name", ["model", "messages"])
@pytest.mark.parametrize("absent", [True, False])
def test_a_required_field_is_missing_when_absent_and_when_null(name: str, *, absent: bool) -> None:
    body = {key: value for key, value in LEAST.items() if key != name}
    with pytest.raises(InvalidRequest) as raised:
        check_fields(body if absent else {**body, name: None})
    assert (raised.value.param, raised.value.code) == (name, REQUIRED)


def test_the_model_is_asked_for_first() -> None:
    with pytest.raises(InvalidRequest) as raised:
        check_fields({})
    assert raised.value.message == "Missing required parameter: 'model'."


@pytest.mark.parametrize("body", [{"messages": [HI]}, {"messages": [HI], "model": None}])
def test_where_there_is_a_default_no_model_is_asked_for(body: dict[str, Any]) -> None:
    assert check_fields(body, needs_model=False) == ({"messages": [HI]}, ())


def test_an_empty_conversation_is_refused() -> None:
    error = refusal(messages=[])
    assert (error.param, error.code) == ("messages", "empty_array")


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
    "service_tier": ("a string", NOT_STRINGS),
    "verbosity": ("a string", NOT_STRINGS),
    "parallel_tool_calls": ("a boolean", ["true", 0, 1, 1.0, []]),
    "logprobs": ("a boolean", ["true", 0, 1, 1.0, []]),
    "top_logprobs": ("an integer", [*NOT_NUMBERS, 1.0]),
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
    "n": (1, 128),
}


@pytest.mark.parametrize(("name", "bounds"), RANGES.items())
def test_a_number_may_be_each_of_its_bounds(name: str, bounds: tuple[float, float]) -> None:
    for bound in bounds:
        assert set(ignored_of(**{name: bound})) <= {name}


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


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("service_tier", ["", "Auto", "standard", "Fast"]),
        ("verbosity", ["", "LOW", "max"]),
    ],
)
def test_a_word_out_of_a_few_is_one_of_them(name: str, values: list[str]) -> None:
    for value in values:
        error = refusal(**{name: value})
        assert (error.param, error.code) == (name, VALUE)
        assert f"'{value}'" in error.message


# Null means absent, and unknown is named


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_is_absent(name: str) -> None:
    assert check_fields({**LEAST, name: None}) == (LEAST, ())


@pytest.mark.parametrize("value", [5, "x", [{}], {"a": 1}, True])
def test_an_unknown_field_is_dropped_and_named(value: Any) -> None:
    assert check_fields({**LEAST, "brand_new": value}) == (LEAST, ("brand_new",))


# Ignored and refused

EFFECTIVE: dict[str, list[Any]] = {
    "temperature": [0, 0.7, 2],
    "top_p": [0.1, 0],
    "seed": [0, 42],
    "presence_penalty": [0.5, -2],
    "frequency_penalty": [0.5, 2],
    "logit_bias": [{"50256": -100}],
    "metadata": [{"a": "b"}],
    "prediction": [{"type": "content", "content": "x"}],
    "prompt_cache_key": ["key"],
    "prompt_cache_retention": ["24h"],
    "safety_identifier": ["someone"],
    "store": [True],
    "user": ["someone", ""],
    "web_search_options": [{}],
}

NEUTRAL: dict[str, list[Any]] = {
    "temperature": [1, 1.0],
    "top_p": [1, 1.0],
    "presence_penalty": [0, 0.0],
    "frequency_penalty": [0, 0.0],
    "logit_bias": [{}],
    "metadata": [{}],
    "store": [False],
    "logprobs": [False],
    "modalities": [["text"]],
    "top_logprobs": [0],
}

CONTRADICTING: dict[str, list[Any]] = {
    "audio": [{"voice": "alloy", "format": "wav"}, {}],
    "logprobs": [True],
    "modalities": [["text", "audio"], ["audio"], []],
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
    assert ignored_of(**{name: value}) == (name,)


@pytest.mark.parametrize(("name", "value"), rows(NEUTRAL))
def test_a_neutral_value_passes_and_is_not_worth_a_word(name: str, value: Any) -> None:
    assert ignored_of(**{name: value}) == ()


@pytest.mark.parametrize(("name", "value"), rows(CONTRADICTING))
def test_what_would_change_the_answer_is_refused(name: str, value: Any) -> None:
    error = refusal(**{name: value})
    assert (error.param, error.code) == (name, UNSUPPORTED)
    assert error.message == (f"Unsupported parameter: '{name}' is not supported by this gateway.")


def test_all_that_is_ignored_is_named_in_one_order() -> None:
    ignored = ignored_of(user="someone", seed=1, temperature=0, top_p=0.5)
    assert ignored == ("temperature", "top_p", "seed", "user")
    assert ignored_of(top_p=0.5, temperature=0, seed=1, user="someone") == ignored


@pytest.mark.parametrize(
    ("messages", "ignored"),
    [
        ([HI], ()),
        ([{**HI, "name": None}], ()),
        ([{**HI, "name": ""}], ()),
        ([HI, {**HI, "name": "ann"}], ("messages.name",)),
        ([{**HI, "name": "ann"}, {**HI, "name": "bob"}], ("messages.name",)),
        (["no message"], ()),
    ],
)
def test_the_name_of_a_speaker_is_ignored_and_said_so_once(
    messages: list[Any], ignored: tuple[str, ...]
) -> None:
    assert ignored_of(messages=messages) == ignored


IMAGE = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA="},
}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("detail", "ignored"),
    [
        (None, ()),
        ("auto", ()),
        ("low", ("messages.content.image_url.detail",)),
        ("high", ("messages.content.image_url.detail",)),
    ],
)
def test_the_detail_of_an_image_is_ignored_and_said_so(
    detail: str | None, ignored: tuple[str, ...]
) -> None:
    part = {**IMAGE, "image_url": {**IMAGE["image_url"], "detail": detail}}  # type: ignore[dict-item]
    assert ignored_of(messages=[{"role": "user", "content": [IMAGE, part, "odd"]}]) == ignored


@pytest.mark.parametrize(
    ("strict", "ignored"), [(None, ()), (False, ()), (True, ("tools.function.strict",))]
)
def test_a_strict_function_is_offered_as_any_other_and_said_so(
    strict: bool | None, ignored: tuple[str, ...]
) -> None:
    tool = {**FUNCTION, "function": {**FUNCTION["function"], "strict": strict}}  # type: ignore[dict-item]
    assert ignored_of(tools=[FUNCTION, tool, "odd"]) == ignored


def test_the_body_is_left_alone() -> None:
    body = {**LEAST, "stream": True, "stream_options": {"include_usage": True}, "user": None}
    before = copy.deepcopy(body)
    check_fields(body)
    assert body == before
