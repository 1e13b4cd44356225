import re

import pytest

from app import errors
from app.errors import GatewayError

REQUEST = "invalid_request_error"
SERVER = "server_error"

# class: status, type, code, retryable, Retry-After
TABLE: dict[type[GatewayError], tuple[int, str, str, bool, int | None]] = {
    errors.InvalidRequest: (400, REQUEST, "invalid_value", False, None),
    errors.InvalidJson: (400, REQUEST, "INVALID_JSON", False, None),
    errors.PromptRefused: (400, REQUEST, "invalid_prompt", False, None),
    errors.ContextLengthExceeded: (400, REQUEST, "context_length_exceeded", False, None),
    errors.ReasoningRefused: (400, REQUEST, "invalid_encrypted_content", False, None),
    errors.CodexOutdated: (400, REQUEST, "CODEX_OUTDATED", False, None),
    errors.ToolRefused: (400, REQUEST, "invalid_value", False, None),
    errors.InvalidApiKey: (401, REQUEST, "invalid_api_key", False, None),
    errors.OriginNotAllowed: (403, REQUEST, "ORIGIN_NOT_ALLOWED", False, None),
    errors.UnknownUrl: (404, REQUEST, "unknown_url", False, None),
    errors.ModelNotFound: (404, REQUEST, "model_not_found", False, None),
    errors.AnswerNotFound: (404, REQUEST, "RESPONSE_NOT_FOUND", False, None),
    errors.MethodNotSupported: (405, REQUEST, "method_not_supported", False, None),
    errors.BodyTimeout: (408, REQUEST, "BODY_TIMEOUT", False, None),
    errors.ImageTimeout: (408, REQUEST, "IMAGE_TIMEOUT", True, None),
    errors.BodyTooLarge: (413, REQUEST, "BODY_TOO_LARGE", False, None),
    errors.TooManyValues: (413, REQUEST, "TOO_MANY_VALUES", False, None),
    errors.UnsupportedContentType: (415, REQUEST, "unsupported_content_type", False, None),
    errors.UnsupportedContentEncoding: (
        415,
        REQUEST,
        "UNSUPPORTED_CONTENT_ENCODING",
        False,
        None,
    ),
    errors.KeyLimited: (429, "requests", "rate_limit_exceeded", True, 1),
    errors.RateLimited: (429, "rate_limit_error", "rate_limit_exceeded", True, 5),
    errors.QuotaExhausted: (429, "insufficient_quota", "insufficient_quota", False, None),
    errors.UpstreamError: (502, SERVER, "UPSTREAM_ERROR", True, None),
    errors.UpstreamBrokeOff: (502, SERVER, "UPSTREAM_ERROR", True, None),
    errors.UpstreamRefused: (502, SERVER, "UPSTREAM_ERROR", False, None),
    errors.AnswerTooLarge: (502, SERVER, "ANSWER_TOO_LARGE", False, None),
    errors.PolicyCapacity: (503, SERVER, "server_is_overloaded", False, None),
    errors.UpstreamOverloaded: (503, SERVER, "server_is_overloaded", True, 5),
    errors.UpstreamForbidden: (403, "permission_error", "UPSTREAM_FORBIDDEN", False, None),
    errors.UpstreamAuth: (503, SERVER, "UPSTREAM_AUTH", False, None),
    errors.WorkerBusy: (429, "rate_limit_error", "WORKER_BUSY", True, 1),
    errors.WorkerUnavailable: (503, SERVER, "WORKER_UNAVAILABLE", True, 1),
    errors.WorkerLost: (503, SERVER, "WORKER_UNAVAILABLE", True, 1),
    errors.RequestSuspected: (503, SERVER, "REQUEST_SUSPECTED", False, None),
    errors.Draining: (503, SERVER, "DRAINING", True, 1),
    errors.InMaintenance: (503, SERVER, "MAINTENANCE", True, 30),
    errors.OutOfMemory: (503, SERVER, "OUT_OF_MEMORY", True, 5),
    errors.StoreFailed: (503, SERVER, "STORE_UNAVAILABLE", True, 5),
    errors.WorkerTimeout: (504, "timeout_error", "WORKER_TIMEOUT", True, None),
    errors.SlowReader: (503, SERVER, "SLOW_READER", False, None),
    errors.InternalError: (500, SERVER, "INTERNAL_ERROR", False, None),
}

OPENAI_CODES = {
    "invalid_encrypted_content",
    "context_length_exceeded",
    "insufficient_quota",
    "invalid_api_key",
    "invalid_prompt",
    "invalid_value",
    "method_not_supported",
    "model_not_found",
    "rate_limit_exceeded",
    "server_is_overloaded",
    "unknown_url",
    "unsupported_content_type",
}


def descendants(root: type[GatewayError]) -> set[type[GatewayError]]:
    found = set(root.__subclasses__())
    return found.union(*(descendants(kind) for kind in found))


def test_the_table_has_every_error_of_the_page() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    page = {kind for kind in kinds if issubclass(kind, Exception)} - {GatewayError}
    assert page == set(TABLE)
    assert {kind for kind in descendants(GatewayError) if kind.__module__ == "app.errors"} == page


@pytest.mark.parametrize(("kind", "row"), TABLE.items(), ids=str)
def test_every_error_has_its_status_type_and_code(
    kind: type[GatewayError], row: tuple[int, str, str, bool, int | None]
) -> None:
    error = kind("A sentence.")
    assert (error.status, error.type, error.code, error.retryable, error.retry_after_s) == row


@pytest.mark.parametrize("kind", TABLE)
def test_the_envelope_has_exactly_the_five_members(kind: type[GatewayError]) -> None:
    error = kind("A sentence.", param="messages[3].role")
    assert error.to_envelope() == {
        "error": {
            "message": "A sentence.",
            "type": kind.type,
            "param": "messages[3].role",
            "code": kind.default_code,
            "retryable": kind.retryable,
        }
    }


@pytest.mark.parametrize("kind", TABLE)
def test_a_param_that_is_not_given_is_null_and_not_absent(kind: type[GatewayError]) -> None:
    assert kind("A sentence.").to_envelope()["error"]["param"] is None


@pytest.mark.parametrize("kind", TABLE)
def test_a_code_that_only_this_gateway_has_is_upper_snake(kind: type[GatewayError]) -> None:
    code = kind.default_code
    assert code in OPENAI_CODES or re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code)


@pytest.mark.parametrize("kind", TABLE)
def test_a_retryable_refusal_says_when_to_come_back(kind: type[GatewayError]) -> None:
    if kind.retryable and kind.status in {429, 503}:
        assert kind("A sentence.").retry_after_s is not None
    else:
        assert kind("A sentence.").retry_after_s is None


def test_what_an_instance_is_given_wins_over_its_class() -> None:
    error = errors.WorkerBusy("A sentence.", code="other_code", retry_after_s=30)
    assert (error.code, error.retry_after_s) == ("other_code", 30)
    assert error.to_envelope()["error"]["code"] == "other_code"
    assert errors.WorkerBusy("A sentence.").code == "WORKER_BUSY"


def test_the_exception_reads_as_its_sentence() -> None:
    assert str(errors.InvalidRequest("A sentence.", param="n")) == "A sentence."
