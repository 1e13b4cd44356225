"""Turn errors: how a turn ended, as the cause of a choice's end or as one of our errors. Pure.

codex tells failures apart by `codexErrorInfo`, by the upstream's HTTP status, or only by its sentence (protocol notes,
section 11). Each way is one table below. codex's own sentences can carry the upstream's URL, so they never pass; what
passes is the upstream's own error body where it is the caller's request that was refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType

import orjson

from app.answers.chunks import Cause
from app.backend.events import TurnEnded, TurnFailure, TurnStatus
from app.errors import (
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    PromptRefused,
    QuotaExhausted,
    RateLimited,
    RequestPart,
    UpstreamAuth,
    UpstreamBrokeOff,
    UpstreamError,
    UpstreamForbidden,
    UpstreamOverloaded,
)

_QUOTA_SPENT = (
    "The account behind this service has reached its usage limit or spent its quota (it is not this gateway's limit "
    "for your key)."
)
_RATE_LIMITED = "The upstream's rate limit for this account was reached (it is not this gateway's limit for your key)."
_LOGIN_NOT_RENEWED = (
    "This service's login has expired, and the accounts server of OpenAI has not renewed it. "
    "Your key is fine."
)
_LOGIN_REFUSED = "The upstream refused this service's own login; its operator has to log in again. Your key is fine."
_REFUSED = "The upstream refused this prompt: it goes against the usage policy of the model."
_BROKE_OFF = "The upstream broke off its answer."
_FAILED = "The upstream failed to answer."


def _context_length(_: TurnFailure) -> GatewayError:
    return ContextLengthExceeded(
        "The conversation is longer than this model's context window.", part=RequestPart.PROMPT
    )


def _quota(failure: TurnFailure) -> GatewayError:
    if failure.reset is None:
        return QuotaExhausted(_QUOTA_SPENT)
    again = datetime.fromtimestamp(failure.reset.at, UTC)
    return QuotaExhausted(
        f"{_QUOTA_SPENT} It starts again at {again:%Y-%m-%dT%H:%M:%SZ}.",
        retry_after_s=failure.reset.in_s,
    )


def _model_not_found(_: TurnFailure) -> GatewayError:
    return ModelNotFound("The upstream does not know this model.", part=RequestPart.MODEL)


def _always(error: type[GatewayError], sentence: str) -> Callable[[TurnFailure], GatewayError]:
    return lambda _: error(sentence)


BY_KIND: Mapping[str, Callable[[TurnFailure], GatewayError]] = MappingProxyType(
    {
        "contextWindowExceeded": _context_length,
        "usageLimitExceeded": _quota,
        "sessionBudgetExceeded": _quota,
        "rateLimitExceeded": _always(RateLimited, _RATE_LIMITED),
        "serverOverloaded": _always(
            UpstreamOverloaded, "The upstream has no capacity for this model right now."
        ),
        "flexUnavailable": _always(
            UpstreamOverloaded, "The upstream has no capacity for this service tier right now."
        ),
        "internalServerError": _always(
            UpstreamBrokeOff, "The upstream reported an internal error."
        ),
        "unauthorized": _always(UpstreamAuth, _LOGIN_REFUSED),
        "modelNotFound": _model_not_found,
        "responseStreamDisconnected": _always(UpstreamBrokeOff, _BROKE_OFF),
        "badRequest": _always(InvalidRequest, "The upstream refused this request as not valid."),
        "cyberPolicy": _always(PromptRefused, _REFUSED),
        "misalignmentPolicyViolation": _always(PromptRefused, _REFUSED),
        "tooManyDenials": _always(UpstreamError, "The model kept asking for what it may not do."),
    }
)
"""By the name of `codexErrorInfo`. Names with an HTTP status are looked up in `BY_STATUS`."""

BY_STATUS: Mapping[int, Callable[[TurnFailure], GatewayError]] = MappingProxyType(
    {
        401: _always(UpstreamAuth, _LOGIN_REFUSED),
        403: _always(UpstreamForbidden, "The upstream does not allow this request."),
        404: _model_not_found,
        429: _always(RateLimited, _RATE_LIMITED),
    }
)
"""By the HTTP status that the upstream answered with; any other one is `UpstreamError`."""

_INCOMPLETE_SENTENCE = re.compile(
    r"^(?:stream disconnected before completion: )?Incomplete response returned, reason: (\w+)"
)

INCOMPLETE: Mapping[str, Cause] = MappingProxyType(
    {"max_output_tokens": Cause.TOKEN_LIMIT, "content_filter": Cause.CONTENT_FILTER}
)
"""By the reason of the upstream's `response.incomplete`."""

_BY_SENTENCE: tuple[tuple[re.Pattern[str], type[GatewayError], str], ...] = (
    (re.compile(r"^Invalid prompt"), PromptRefused, _REFUSED),
    (re.compile(r"^stream disconnected before completion"), UpstreamBrokeOff, _BROKE_OFF),
    (re.compile(r"^Missing environment variable"), UpstreamAuth, _LOGIN_REFUSED),
    # A renewal that failed in the turn, and not the request.
    (
        re.compile(r"^Failed to refresh token|^OAuth token response|/oauth/token\)"),
        UpstreamAuth,
        _LOGIN_NOT_RENEWED,
    ),
    (
        re.compile(r"error sending request|connection|timed? ?out", re.IGNORECASE),
        UpstreamBrokeOff,
        _FAILED,
    ),
)


def end_cause(ended: TurnEnded) -> Cause:
    """Return why the answer ends here; raise the error that the failure means."""
    if ended.status is TurnStatus.COMPLETED:
        return Cause.FINISHED
    if ended.failure is None:
        raise UpstreamError("The turn was interrupted before its answer was complete.")
    incomplete = _INCOMPLETE_SENTENCE.search(ended.failure.message)
    if incomplete and incomplete[1] in INCOMPLETE:
        return INCOMPLETE[incomplete[1]]
    raise to_error(ended.failure)


def to_error(failure: TurnFailure) -> GatewayError:
    """Return the error for a failed turn."""
    by_kind = BY_KIND.get(failure.kind)
    if by_kind is not None:
        return by_kind(failure)
    if failure.http_status is not None:
        is_fault = failure.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR
        fallback = _always(UpstreamBrokeOff if is_fault else UpstreamError, _FAILED)
        return BY_STATUS.get(failure.http_status, fallback)(failure)
    refused = _from_upstream_body(failure.message)
    if refused is not None:
        return refused
    for pattern, error, sentence in _BY_SENTENCE:
        if pattern.search(failure.message):
            return error(sentence)
    return UpstreamError(_FAILED)


_TELLTALE = re.compile(
    r"https?://\S+|\breq_\w+|\bsk-[\w*-]+|\borg-\w+|(?<![\w.])/(?:[\w.-]+/)+[\w-]+\.\w+|Traceback \(most.*",
    re.DOTALL,
)
"""What an upstream's sentence may carry that is none of the caller's business: addresses, its own request ids, keys,
names of organizations, files, stacks."""


def _from_upstream_body(message: str) -> GatewayError | None:
    """Read the upstream's own 400, which codex hands on raw as its message; None if it is no such body."""
    try:
        body = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    error = body.get("error") if isinstance(body, dict) else None
    sentence = error.get("message") if isinstance(error, dict) else None
    if not isinstance(error, dict) or not isinstance(sentence, str) or not sentence:
        return None
    code, param = error.get("code"), error.get("param")
    if code == "context_length_exceeded":
        return _context_length(TurnFailure(message))  # the upstream's field is none of the caller's
    return InvalidRequest(
        _TELLTALE.sub("...", sentence),
        code=code if isinstance(code, str) else None,
        param=param if isinstance(param, str) else None,
    )
