"""Turn errors: how a turn ended, as the cause of a choice's end or as one of our errors. Pure.

codex tells failures apart by `codexErrorInfo`, by the upstream's HTTP status, or only by its sentence (protocol notes,
section 11). Each way is one table below. A 400 has neither name nor status: what is no sentence of codex's own is the
upstream's refusal (`app.answers.refusals`). codex's own sentences can carry the upstream's URL, so they never pass;
what passes is what the upstream itself said (`app.answers.upstream_words`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType

from app.answers.chunks import Cause
from app.answers.refusals import ACCOUNT_REFUSED, POLICY, context_length, recognized, refused
from app.answers.upstream_words import SENTENCE_CHARS, UpstreamWords, read_words
from app.backend.events import TurnEnded, TurnFailure, TurnStatus
from app.errors import (
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    PolicyCapacity,
    PromptRefused,
    QuotaExhausted,
    RateLimited,
    RequestPart,
    UpstreamAuth,
    UpstreamBrokeOff,
    UpstreamError,
    UpstreamForbidden,
    UpstreamOverloaded,
    UpstreamRefused,
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
_FORBIDDEN = "The upstream does not allow this request."
_BROKE_OFF = "The upstream broke off its answer."
_FAILED = "The upstream failed to answer."
_UNREACHED = "The upstream cannot be reached."

ErrorMaker = Callable[[TurnFailure, UpstreamWords], GatewayError]


def _quota(failure: TurnFailure, _: UpstreamWords) -> GatewayError:
    if failure.reset is None:
        return QuotaExhausted(_QUOTA_SPENT)
    again = datetime.fromtimestamp(failure.reset.at, UTC)
    return QuotaExhausted(
        f"{_QUOTA_SPENT} It starts again at {again:%Y-%m-%dT%H:%M:%SZ}.",
        retry_after_s=failure.reset.in_s,
    )


def _always(error: type[GatewayError], sentence: str) -> ErrorMaker:
    return lambda *_: error(sentence)


def _quoting(
    error: type[GatewayError], sentence: str, part: RequestPart | None = None
) -> ErrorMaker:
    return lambda _, words: error(words.quoted(sentence), part=part)


_LOGIN = _quoting(UpstreamAuth, _LOGIN_REFUSED)
_NO_MODEL = _quoting(ModelNotFound, "The upstream does not know this model.", RequestPart.MODEL)

BY_KIND: Mapping[str, ErrorMaker] = MappingProxyType(
    {
        "contextWindowExceeded": lambda _, words: context_length(words),
        "usageLimitExceeded": _quota,
        "sessionBudgetExceeded": _quota,
        "rateLimitExceeded": _always(RateLimited, _RATE_LIMITED),
        "serverOverloaded": _always(
            UpstreamOverloaded, "The upstream has no capacity for this model right now."
        ),
        "flexUnavailable": _always(
            UpstreamOverloaded, "The upstream has no capacity for this service tier right now."
        ),
        "policyCapacityUnavailable": _quoting(
            PolicyCapacity, "The upstream has no capacity under the policy that this request needs."
        ),
        "internalServerError": _always(
            UpstreamBrokeOff, "The upstream reported an internal error."
        ),
        "unauthorized": _LOGIN,
        "modelNotFound": _NO_MODEL,
        "responseStreamDisconnected": _always(UpstreamBrokeOff, _BROKE_OFF),
        "badRequest": _quoting(InvalidRequest, "The upstream refused this request as not valid."),
        "cyberPolicy": _quoting(PromptRefused, POLICY),
        "bioPolicy": _quoting(PromptRefused, POLICY),
        "misalignmentPolicyViolation": _quoting(PromptRefused, POLICY),
        "inferenceHookDenied": _quoting(UpstreamForbidden, _FORBIDDEN),
        "tooManyDenials": _always(UpstreamError, "The model kept asking for what it may not do."),
    }
)
"""By the name of `codexErrorInfo`. Names with an HTTP status are looked up in `BY_STATUS`."""

BY_STATUS: Mapping[int, ErrorMaker] = MappingProxyType(
    {
        401: _LOGIN,
        402: _quoting(UpstreamAuth, ACCOUNT_REFUSED),
        403: _quoting(UpstreamForbidden, _FORBIDDEN),
        404: _NO_MODEL,
        408: _always(UpstreamBrokeOff, _FAILED),
        413: _quoting(
            InvalidRequest,
            "The upstream refused this request as too large. Send less; images count most.",
            RequestPart.PROMPT,
        ),
        429: _always(RateLimited, _RATE_LIMITED),
        451: _quoting(UpstreamForbidden, _FORBIDDEN),
    }
)
"""By the HTTP status of a refusal. Any other 4xx says that the request is not valid."""

_CONNECTION_KINDS = frozenset(
    {"httpConnectionFailed", "responseStreamConnectionFailed", "responseTooManyFailedAttempts"}
)
"""Names that come with a status, or without one where there was no answer at all."""

_NOT_SENT = re.compile(r"^Connection failed|^error sending request")

_INCOMPLETE_SENTENCE = re.compile(
    r"^(?:stream disconnected before completion: )?Incomplete response returned, reason: (\w+)"
)

INCOMPLETE: Mapping[str, Cause] = MappingProxyType(
    {"max_output_tokens": Cause.TOKEN_LIMIT, "content_filter": Cause.CONTENT_FILTER}
)
"""By the reason of the upstream's `response.incomplete`."""

_DISCONNECTED = "stream disconnected before completion: "

_BY_SENTENCE: tuple[tuple[re.Pattern[str], ErrorMaker], ...] = (
    (re.compile(r"^stream disconnected before completion"), _always(UpstreamBrokeOff, _BROKE_OFF)),
    (re.compile(r"^Incomplete response returned"), _always(UpstreamError, _BROKE_OFF)),
    (re.compile(r"^Missing environment variable"), _always(UpstreamAuth, _LOGIN_REFUSED)),
    (re.compile(r"access token could not be refreshed|refresh token"), _LOGIN),
    # A renewal that failed in the turn, and not the request.
    (
        re.compile(r"^Failed to refresh token|^OAuth token response|/oauth/token\)"),
        _always(UpstreamAuth, _LOGIN_NOT_RENEWED),
    ),
    (
        re.compile(
            r"^unexpected status|error sending request|connection|timed? ?out", re.IGNORECASE
        ),
        _always(UpstreamBrokeOff, _FAILED),
    ),
    (
        re.compile(r"^(?:Fatal|internal) error|^unsupported operation|^no thread", re.IGNORECASE),
        _always(UpstreamRefused, _FAILED),
    ),
)
"""By a sentence of codex's own, for a failure that has neither a name nor a status."""


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
    """Return the error for a failed turn. Its `upstream_said` is what the log may show of the upstream's words."""
    words = read_words(failure.message)
    error = _error(failure, words)
    error.upstream_said = words.sentence or words.code or None
    return error


def _error(failure: TurnFailure, words: UpstreamWords) -> GatewayError:
    # An upstream may refuse in its stream (`response.failed`), which codex reports like a lost connection.
    said = failure.message.removeprefix(_DISCONNECTED)
    if said != failure.message and (error := recognized(read_words(said))):
        return error
    by_kind = BY_KIND.get(failure.kind)
    if by_kind is not None:
        return by_kind(failure, words)
    if failure.http_status is not None:
        return _by_status(failure, failure.http_status, words)
    if failure.kind in _CONNECTION_KINDS:
        is_unreached = _NOT_SENT.search(failure.message)
        return UpstreamBrokeOff(_UNREACHED) if is_unreached else UpstreamError(_FAILED)
    if not words.is_json:
        message = failure.message[:SENTENCE_CHARS]
        for pattern, make in _BY_SENTENCE:
            if pattern.search(message):
                return make(failure, words)
    is_named = failure.kind != "other"
    return recognized(words) or (
        UpstreamRefused(words.quoted(_FAILED)) if is_named else refused(words)
    )


def _by_status(failure: TurnFailure, status: int, words: UpstreamWords) -> GatewayError:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UpstreamBrokeOff(_FAILED)
    if error := recognized(words):
        return error
    make = BY_STATUS.get(status)
    return refused(words) if make is None else make(failure, words)
