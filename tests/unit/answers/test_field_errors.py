from collections.abc import Callable
from typing import Any

import pytest

from app.answers.field_errors import invalid_type, invalid_value, missing, unsupported
from app.errors import InvalidRequest


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({}, "an object"),
        ([], "an array"),
        ("x", "a string"),
        (True, "a boolean"),
        (1, "an integer"),
        (1.5, "a decimal"),
        (None, "null"),
        ((), "something else"),
    ],
)
def test_a_wrong_type_is_named_as_json_names_it(value: Any, name: str) -> None:
    error = invalid_type("messages[0]", "a string", value)
    sentence = f"Invalid type for 'messages[0]': expected a string, but got {name} instead."
    assert error.message == sentence
    assert (error.param, error.code, error.status) == ("messages[0]", "invalid_type", 400)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("tool", "'tool'"),
        (5, "5"),
        (None, "None"),
        ("a'b\n", '"a\'b\\n"'),
        ("x" * 58, "'" + "x" * 58 + "'"),
        ("x" * 59, "'" + "x" * 59 + "..."),
        (["y"] * 100_000, "['y', 'y', 'y', 'y', 'y', 'y', 'y', 'y', 'y', 'y', 'y', 'y',..."),
    ],
)
def test_a_wrong_value_is_shown_but_never_at_length(value: Any, shown: str) -> None:
    error = invalid_value("role", value, ["user", "system"])
    sentence = f"Invalid value: {shown}. Supported values are: 'user', 'system'."
    assert error.message == sentence
    assert (error.param, error.code) == ("role", "invalid_value")


@pytest.mark.parametrize(
    ("make", "sentence", "code"),
    [
        (missing, "Missing required parameter: 'stop'.", "missing_required_parameter"),
        (
            unsupported,
            "Unsupported parameter: 'stop' is not supported by this gateway.",
            "unsupported_parameter",
        ),
    ],
)
def test_a_field_is_named_in_openai_s_words(
    make: Callable[[str], InvalidRequest], sentence: str, code: str
) -> None:
    error = make("stop")
    assert (error.message, error.param, error.code) == (sentence, "stop", code)
    assert (error.status, error.type) == (400, "invalid_request_error")


def test_no_more_of_a_long_value_is_looked_at_than_is_shown() -> None:
    class Entry(str):
        __slots__ = ()

        def __getitem__(self, key: Any) -> Any:
            raise AssertionError("it is not shown")

    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    for value in (["x" * 70, Entry("y")], {"a": "x" * 70, "b": Entry("y")}, [1] * 1_000_000, deep):
        message = invalid_value("at", value, ("a",)).message
        assert message.startswith(f"Invalid value: {'{' if isinstance(value, dict) else '['}")
        assert len(message) < 120
    while isinstance(deep, list):  # else Python itself would follow it to its end
        (deep,) = deep
