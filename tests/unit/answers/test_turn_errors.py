from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import errors
from app.answers.chunks import Cause
from app.answers.plan import RequestWords
from app.answers.turn_errors import BY_KIND, BY_STATUS, INCOMPLETE, end_cause, to_error
from app.backend.events import Reset, TurnEnded, TurnFailure, TurnStatus
from app.errors import GatewayError, RequestPart

LEAK = "http://secret.example/x"
REQUEST_ID = "req_0123456789abcdef"
LEAKS = f", url: {LEAK}, request id: {REQUEST_ID}, cf-ray: 0a1b"


def body(message: str, **more: object) -> str:
    return orjson.dumps({"error": {"message": message, **more}}).decode()


def said(text: str) -> str:
    return f"unexpected status 400 Any: {text}"


def http(status: int | None, sentence: str = "unexpected status 400 Any: ") -> TurnFailure:
    return TurnFailure(f"{sentence}{LEAKS}", "httpConnectionFailed", status)


def retried(status: int) -> TurnFailure:
    return TurnFailure(f"exceeded retry limit{LEAKS}", "responseTooManyFailedAttempts", status)


def kind(name: str) -> TurnFailure:
    return TurnFailure(f"A sentence of codex{LEAKS}", name)


def other(sentence: str) -> TurnFailure:
    return TurnFailure(sentence + LEAKS)


WORDS = RequestWords(
    {RequestPart.PROMPT: "messages", RequestPart.MODEL: "model"},
    "Please reduce the length of the messages.",
)
DISCONNECTED = "stream disconnected before completion: "

# what codex says: class, status, code
FAILURES: list[tuple[TurnFailure, type[GatewayError], int, str]] = [
    # By name
    (
        kind("contextWindowExceeded"),
        errors.ContextLengthExceeded,
        400,
        "context_length_exceeded",
    ),
    (kind("usageLimitExceeded"), errors.QuotaExhausted, 429, "insufficient_quota"),
    (kind("sessionBudgetExceeded"), errors.QuotaExhausted, 429, "insufficient_quota"),
    (kind("rateLimitExceeded"), errors.RateLimited, 429, "rate_limit_exceeded"),
    (kind("serverOverloaded"), errors.UpstreamOverloaded, 503, "server_is_overloaded"),
    (kind("flexUnavailable"), errors.UpstreamOverloaded, 503, "server_is_overloaded"),
    (kind("internalServerError"), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (kind("unauthorized"), errors.UpstreamAuth, 503, "UPSTREAM_AUTH"),
    (kind("modelNotFound"), errors.ModelNotFound, 404, "model_not_found"),
    (kind("responseStreamDisconnected"), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (kind("badRequest"), errors.InvalidRequest, 400, "invalid_value"),
    (kind("cyberPolicy"), errors.PromptRefused, 400, "invalid_prompt"),
    (kind("misalignmentPolicyViolation"), errors.PromptRefused, 400, "invalid_prompt"),
    (kind("bioPolicy"), errors.PromptRefused, 400, "invalid_prompt"),
    (kind("inferenceHookDenied"), errors.UpstreamForbidden, 403, "UPSTREAM_FORBIDDEN"),
    (kind("policyCapacityUnavailable"), errors.PolicyCapacity, 503, "server_is_overloaded"),
    (kind("tooManyDenials"), errors.UpstreamError, 502, "UPSTREAM_ERROR"),
    (kind("brandNew"), errors.UpstreamRefused, 502, "UPSTREAM_ERROR"),
    # By the upstream's status
    (retried(429), errors.RateLimited, 429, "rate_limit_exceeded"),
    (retried(500), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (http(401), errors.UpstreamAuth, 503, "UPSTREAM_AUTH"),
    (http(402), errors.UpstreamAuth, 503, "UPSTREAM_AUTH"),
    (http(403), errors.UpstreamForbidden, 403, "UPSTREAM_FORBIDDEN"),
    (http(404), errors.ModelNotFound, 404, "model_not_found"),
    (http(429), errors.RateLimited, 429, "rate_limit_exceeded"),
    (http(502), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (http(503), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (http(529), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (http(408), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (http(413), errors.InvalidRequest, 400, "invalid_value"),
    (http(418), errors.InvalidRequest, 400, "invalid_value"),
    (http(422), errors.InvalidRequest, 400, "invalid_value"),
    (http(451), errors.UpstreamForbidden, 403, "UPSTREAM_FORBIDDEN"),
    # By the sentence
    (http(None), errors.UpstreamError, 502, "UPSTREAM_ERROR"),
    (other("error sending request"), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (
        http(None, "Connection failed: error sending request"),
        errors.UpstreamBrokeOff,
        502,
        "UPSTREAM_ERROR",
    ),
    (other("Connection refused"), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (other("operation timed out"), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (
        other(f"{DISCONNECTED}The encrypted content gAAA could not be verified."),
        errors.ReasoningRefused,
        400,
        "invalid_encrypted_content",
    ),
    (
        TurnFailure(
            f"{DISCONNECTED}The 'm' model requires a newer version of Codex.",
            "responseStreamDisconnected",
        ),
        errors.CodexOutdated,
        400,
        "CODEX_OUTDATED",
    ),
    (other(f"{DISCONNECTED}eof"), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (other(f"{DISCONNECTED}sse error"), errors.UpstreamBrokeOff, 502, "UPSTREAM_ERROR"),
    (
        other(f"{DISCONNECTED}idle timeout waiting for SSE"),
        errors.UpstreamBrokeOff,
        502,
        "UPSTREAM_ERROR",
    ),
    (
        other("Missing environment variable: `GATEWAY_UPSTREAM_KEY`."),
        errors.UpstreamAuth,
        503,
        "UPSTREAM_AUTH",
    ),
    *(
        (other(sentence), errors.UpstreamAuth, 503, "UPSTREAM_AUTH")
        for sentence in (
            "Failed to refresh token: 500 Internal Server Error: boom",  # 0.163
            "Failed to refresh token: 502 Bad Gateway",  # 0.171
            "OAuth token response is invalid",
            "error sending request for url (https://auth.openai.com/oauth/token)",
        )
    ),
    (
        other("Your access token could not be refreshed. Please sign in again."),
        errors.UpstreamAuth,
        503,
        "UPSTREAM_AUTH",
    ),
    (other("Fatal error: no way on"), errors.UpstreamRefused, 502, "UPSTREAM_ERROR"),
    # A 400 has nothing but its body, which need not say anything
    *(
        (TurnFailure(message), errors.InvalidRequest, 400, "invalid_value")
        for message in (
            "",
            "[]",
            '"text"',
            "{}",
            '{"error":null}',
            '{"error":"text"}',
            '{"error":{}}',
            '{"error":{"message":5}}',
            '{"detail":"http://secret.example/x"}',
            "<html>no</html>",
        )
    ),
]


@pytest.mark.parametrize(("failure", "expected", "status", "code"), FAILURES)
def test_a_failure_is_answered_as_what_it_is(
    failure: TurnFailure, expected: type[GatewayError], status: int, code: str
) -> None:
    error = to_error(failure)
    assert type(error) is expected
    assert (error.status, error.code) == (status, code)


@pytest.mark.parametrize("failure", [failure for failure, *_ in FAILURES])
def test_nothing_of_codex_s_own_sentence_is_passed_on(failure: TurnFailure) -> None:
    message = to_error(failure).message
    for leak in (LEAK, "secret.example", REQUEST_ID, "cf-ray", "GATEWAY_UPSTREAM_KEY"):
        assert leak not in message
    assert message.endswith(".")


def test_the_table_has_a_row_for_every_name_and_every_status() -> None:
    assert {failure.kind for failure, *_ in FAILURES} >= set(BY_KIND)
    assert {failure.http_status for failure, *_ in FAILURES} >= set(BY_STATUS)


@pytest.mark.parametrize(
    ("failure", "param"),
    [
        (kind("contextWindowExceeded"), "messages"),
        (kind("modelNotFound"), "model"),
        (http(404), "model"),
        (http(403), None),
        (kind("serverOverloaded"), None),
    ],
)
def test_the_field_at_fault_is_named_where_there_is_one(
    failure: TurnFailure, param: str | None
) -> None:
    error = to_error(failure)
    WORDS.put_into(error)
    assert error.param == param


def test_a_name_says_more_than_a_status_and_a_status_more_than_a_sentence() -> None:
    assert type(to_error(TurnFailure("", "serverOverloaded", 401))) is errors.UpstreamOverloaded
    refused = TurnFailure(body("Bad input."), "httpConnectionFailed", 401)
    assert type(to_error(refused)) is errors.UpstreamAuth


@given(st.text(), st.sampled_from(["other", "brandNew"]), st.none() | st.integers())
def test_any_failure_is_some_error_with_a_sentence(
    message: str, name: str, status: int | None
) -> None:
    assert to_error(TurnFailure(message, name, status)).message


# How it ended


@pytest.mark.parametrize(
    ("ended", "cause"),
    [
        (TurnEnded(TurnStatus.COMPLETED), Cause.FINISHED),
        (
            TurnEnded(
                TurnStatus.FAILED,
                TurnFailure("Incomplete response returned, reason: max_output_tokens"),
            ),
            Cause.TOKEN_LIMIT,
        ),
        (
            TurnEnded(
                TurnStatus.FAILED,
                TurnFailure(f"{DISCONNECTED}Incomplete response returned, reason: content_filter"),
            ),
            Cause.CONTENT_FILTER,
        ),
    ],
)
def test_an_end_has_its_cause(ended: TurnEnded, cause: Cause) -> None:
    assert end_cause(ended) is cause


def test_an_incomplete_answer_ends_for_one_of_two_causes() -> None:
    assert set(INCOMPLETE.values()) == {Cause.TOKEN_LIMIT, Cause.CONTENT_FILTER}


@pytest.mark.parametrize("status", [TurnStatus.INTERRUPTED, TurnStatus.FAILED])
def test_an_end_that_nobody_explains_is_an_error(status: TurnStatus) -> None:
    with pytest.raises(errors.UpstreamError, match="before its answer was complete"):
        end_cause(TurnEnded(status))


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (kind("serverOverloaded"), errors.UpstreamOverloaded),
        (
            TurnFailure(f"{DISCONNECTED}Incomplete response returned, reason: brand_new"),
            errors.UpstreamError,
        ),
    ],
)
def test_a_failed_end_is_the_error_that_it_means(
    failure: TurnFailure, expected: type[GatewayError]
) -> None:
    with pytest.raises(expected):
        end_cause(TurnEnded(TurnStatus.FAILED, failure))


@pytest.mark.parametrize("word", ["connection", "timeout", "timed out"])
def test_a_refused_request_that_says_connection_is_still_a_refused_request(word: str) -> None:
    error = to_error(
        TurnFailure(
            body(f"Invalid schema for function 'open_{word}'.", code="invalid_function_parameters")
        )
    )
    assert (error.status, error.code) == (400, "invalid_function_parameters")


def test_a_refused_request_that_quotes_an_incomplete_answer_has_no_end_cause() -> None:
    quoted = body("Bad: 'Incomplete response returned, reason: content_filter'.")
    with pytest.raises(errors.InvalidRequest):
        end_cause(TurnEnded(TurnStatus.FAILED, TurnFailure(quoted)))


@pytest.mark.parametrize(
    ("failure"),
    [
        TurnFailure("Invalid prompt: flagged."),
        TurnFailure("Bad.", "badRequest"),
        TurnFailure("No.", "cyberPolicy"),
        TurnFailure("No.", "misalignmentPolicyViolation"),
    ],
)
def test_a_refusal_of_the_prompt_is_the_caller_s(failure: TurnFailure) -> None:
    error = to_error(failure)
    assert (error.status, error.retryable) == (400, False)


def test_what_the_upstream_said_is_there_for_the_log() -> None:
    assert to_error(http(403, said("No way."))).upstream_said == "No way."
    assert to_error(TurnFailure('{"detail":{"code":"gone"}}')).upstream_said == "gone"
    assert to_error(TurnFailure("")).upstream_said is None


def test_a_spent_quota_says_when_it_starts_again_if_that_is_known() -> None:
    known = to_error(replace(kind("usageLimitExceeded"), reset=Reset(at=1_800_000_000, in_s=90)))
    assert known.message.endswith("It starts again at 2027-01-15T08:00:00Z.")
    assert (known.retry_after_s, known.retryable) == (90, False)
    unknown = to_error(kind("usageLimitExceeded"))
    assert "starts again" not in unknown.message
    assert unknown.retry_after_s is None
