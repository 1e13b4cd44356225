import pytest

from app.observability import labels


@pytest.mark.parametrize("name", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_method_of_http_is_its_own_label(name: str) -> None:
    assert labels.method(name) == name


@pytest.mark.parametrize("name", ["BREW", "get", "", "X" * 1000, "canary"])
def test_any_other_method_is_other(name: str) -> None:
    assert labels.method(name) == "other"


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (None, "none"),
        ("WORKER_BUSY", "WORKER_BUSY"),
        ("INTERNAL_ERROR", "INTERNAL_ERROR"),
        ("invalid_type", "invalid_type"),
        ("rate_limit_exceeded", "rate_limit_exceeded"),
        ("string_above_max_length", "string_above_max_length"),
        ("canary", "other"),
        ("", "other"),
    ],
)
def test_a_code_that_is_not_ours_is_other(code: str | None, label: str) -> None:
    assert labels.code(code) == label


def test_no_code_of_ours_is_called_like_the_two_words_for_the_rest() -> None:
    assert not labels.CODES & {labels.NONE, labels.OTHER}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("temperature", "temperature"),
        ("messages.name", "messages.name"),
        ("response_format.json_schema.schema.nullable", "response_format.json_schema.schema"),
        ("response_format.json_schema.schema.a.schema.b\nc", "response_format.json_schema.schema"),
    ],
)
def test_a_keyword_of_a_schema_is_no_label(name: str, label: str) -> None:
    assert labels.parameter(name) == label
