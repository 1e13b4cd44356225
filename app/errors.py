"""Errors that this gateway can answer with, all on one page.

Raised low, rendered once: in `app.http.error_handlers` before a response is committed, by the endpoint's wire in a
stream, in `app.runtime.worker` for what is no HTTP. Each class carries the HTTP status, the OpenAI `type`, the `code`
and whether the same request may succeed when sent again. A code that OpenAI defines keeps OpenAI's spelling; a code
that only this gateway has is UPPER_SNAKE, so that a reader sees who speaks. Messages are sentences for the caller:
never a URL of the upstream, a path, a stack or a key.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar


class RequestPart(Enum):
    """Part of a request for which each endpoint has a field of its own name, if it has one."""

    PROMPT = "prompt"
    TOOLS = "tools"
    MODEL = "model"
    EFFORT = "effort"
    FORMAT = "format"
    VERBOSITY = "verbosity"
    SERVICE_TIER = "service_tier"


class GatewayError(Exception):
    """The root: abstract, with the fields that every answer in the error envelope has.

    `param` names the offending field of the request; code that knows no endpoint gives `part` instead, which
    `app.answers.plan.RequestWords` turns into the name. `retry_after_s` becomes `Retry-After`. `upstream_said` is what
    the upstream itself said of a failure of its own, scrubbed: for the log.
    Where `is_transient`, the gateway itself tries once more, as long as the client has seen nothing of the answer.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "INTERNAL_ERROR"
    retryable: ClassVar[bool] = False
    is_transient: ClassVar[bool] = False
    default_retry_after_s: ClassVar[int | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
        part: RequestPart | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.part = part
        self.code = code or self.default_code
        self.retry_after_s = retry_after_s or self.default_retry_after_s
        self.upstream_said: str | None = None

    def to_envelope(self) -> dict[str, Any]:
        """Return the one error body: OpenAI's four members and `retryable`, all five always present."""
        members = ("message", "type", "param", "code", "retryable")
        return {"error": {name: getattr(self, name) for name in members}}


# The caller's request is at fault.


class InvalidRequest(GatewayError):
    """A field is missing, has the wrong type or a value that is not accepted."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_value"


class InvalidJson(InvalidRequest):
    """The body is not JSON (RFC 8259) in UTF-8."""

    default_code = "INVALID_JSON"


class ContextLengthExceeded(InvalidRequest):
    """The conversation is longer than the model's context window."""

    default_code = "context_length_exceeded"


class PromptRefused(InvalidRequest):
    """The upstream will not answer this prompt (usage policy)."""

    default_code = "invalid_prompt"


class ToolRefused(InvalidRequest):
    """codex does not take a tool, whatever this gateway did to make it fit.

    `alias` is the tool's name in codex, empty where codex named none, `reason` what codex says of it.
    """

    alias: str = ""
    reason: str = ""


class ReasoningRefused(InvalidRequest):
    """The upstream cannot read the encrypted reasoning that was given back to it: made for another key, or too old."""

    default_code = "invalid_encrypted_content"


class CodexOutdated(InvalidRequest):
    """The model needs a newer codex than the one that this gateway runs."""

    default_code = "CODEX_OUTDATED"


class InvalidApiKey(InvalidRequest):
    """The bearer key is missing or wrong."""

    status = 401
    default_code = "invalid_api_key"


class OriginNotAllowed(InvalidRequest):
    """A page of an origin that may not call wants to open a WebSocket."""

    status = 403
    default_code = "ORIGIN_NOT_ALLOWED"


class UnknownUrl(InvalidRequest):
    """No route has this path."""

    status = 404
    default_code = "unknown_url"


class ModelNotFound(InvalidRequest):
    """No model has this name."""

    status = 404
    default_code = "model_not_found"


class AnswerNotFound(InvalidRequest):
    """No answer of this id is kept, or it is not the caller's."""

    status = 404
    default_code = "RESPONSE_NOT_FOUND"


class MethodNotSupported(InvalidRequest):
    """The path exists, but not for this method."""

    status = 405
    default_code = "method_not_supported"


class BodyTimeout(InvalidRequest):
    """The request's body did not arrive in time or was cut off."""

    status = 408
    default_code = "BODY_TIMEOUT"


class ImageTimeout(InvalidRequest):
    """An image that the request names by address did not arrive in time: its name server, or its server, is slow."""

    status = 408
    default_code = "IMAGE_TIMEOUT"
    retryable = True


class BodyTooLarge(InvalidRequest):
    """The request's body is longer than `PROXY_MAX_BODY_BYTES`."""

    status = 413
    default_code = "BODY_TOO_LARGE"


class TooManyValues(InvalidRequest):
    """The request's body has more JSON values than can be parsed without holding up others."""

    status = 413
    default_code = "TOO_MANY_VALUES"


class UnsupportedContentType(InvalidRequest):
    """The body is declared as something other than JSON."""

    status = 415
    default_code = "unsupported_content_type"


class UnsupportedContentEncoding(InvalidRequest):
    """The body is compressed in a way that this gateway does not read, or too many times."""

    status = 415
    default_code = "UNSUPPORTED_CONTENT_ENCODING"


# The upstream, or the account behind it, refused or failed.


class RateLimited(GatewayError):
    """The upstream's rate limit: the account's, not this gateway's (that is `KeyLimited`)."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"
    retryable = True
    default_retry_after_s = 5


class QuotaExhausted(GatewayError):
    """The account's usage limit or credit is spent; trying again soon does not help."""

    status = 429
    type = "insufficient_quota"
    default_code = "insufficient_quota"


class UpstreamError(GatewayError):
    """The upstream failed or broke off."""

    status = 502
    default_code = "UPSTREAM_ERROR"
    retryable = True


class UpstreamBrokeOff(UpstreamError):
    """The connection to the upstream failed, or its answer ended before it was whole."""

    is_transient = True


class UpstreamRefused(UpstreamError):
    """The upstream refused for a reason that this gateway does not know: the same again is refused again."""

    retryable = False


class AnswerTooLarge(UpstreamError):
    """The upstream's answer grew beyond what any model says: it runs away, and would do so again."""

    default_code = "ANSWER_TOO_LARGE"
    retryable = False


class UpstreamOverloaded(GatewayError):
    """The upstream says that it has no capacity left."""

    status = 503
    default_code = "server_is_overloaded"
    retryable = True
    default_retry_after_s: ClassVar[int | None] = 5


class PolicyCapacity(UpstreamOverloaded):
    """The upstream has no capacity under the policy that the request needs; trying again at once does not help."""

    retryable = False
    default_retry_after_s: ClassVar[int | None] = None


class UpstreamForbidden(GatewayError):
    """The upstream understood the request and does not allow it (region, policy, no access to the model)."""

    status = 403
    type = "permission_error"
    default_code = "UPSTREAM_FORBIDDEN"


class UpstreamAuth(GatewayError):
    """The service's own login is missing, expired or refused. The caller's key is fine, so this is not a 401."""

    status = 503
    default_code = "UPSTREAM_AUTH"


# This gateway or its child cannot serve now.


class KeyLimited(RateLimited):
    """The caller's key has made as many requests as it may, in a while (`PROXY_RATE_LIMIT`) or at once (`KEY_BUSY`)."""

    type = "requests"  # OpenAI's word for a limit on requests; the one on tokens is "tokens"
    default_retry_after_s = 1


class WorkerBusy(GatewayError):
    """Every turn slot, or place to start a process, is taken, and the queue is full or did not move in time."""

    status = 429
    type = "rate_limit_error"
    default_code = "WORKER_BUSY"
    retryable = True
    default_retry_after_s = 1


class WorkerUnavailable(GatewayError):
    """The child is starting, restarting or went away under the request."""

    status = 503
    default_code = "WORKER_UNAVAILABLE"
    retryable = True
    default_retry_after_s: ClassVar[int | None] = 1


class WorkerLost(WorkerUnavailable):
    """The child went away under the request: another one can take it up."""

    is_transient = True


class RequestSuspected(WorkerUnavailable):
    """The child went away while it worked on this request, which may be why: it is not tried again."""

    default_code = "REQUEST_SUSPECTED"
    retryable = False
    default_retry_after_s: ClassVar[int | None] = None


class Draining(GatewayError):
    """The worker is shutting down and ended the request."""

    status = 503
    default_code = "DRAINING"
    retryable = True
    default_retry_after_s = 1


class InMaintenance(GatewayError):
    """An operator has closed the API for a while; what was begun before goes on."""

    status = 503
    default_code = "MAINTENANCE"
    retryable = True
    default_retry_after_s = 30


class OutOfMemory(GatewayError):
    """There was no memory left for the request."""

    status = 503
    default_code = "OUT_OF_MEMORY"
    retryable = True
    default_retry_after_s = 5


class StoreFailed(GatewayError):
    """An answer could not be stored, or what is stored could not be read: the disk, or Redis, refuses or is slow."""

    status = 503
    default_code = "STORE_UNAVAILABLE"
    retryable = True
    default_retry_after_s = 5


class WorkerTimeout(GatewayError):
    """The upstream stayed silent for too long, or the whole request took too long."""

    status = 504
    type = "timeout_error"
    default_code = "WORKER_TIMEOUT"
    retryable = True


class SlowReader(GatewayError):
    """The client read so slowly that its unread answer outgrew the memory set aside for one turn."""

    status = 503
    default_code = "SLOW_READER"


class InternalError(GatewayError):
    """A defect of this gateway. The log has the details, the caller gets the request id."""
