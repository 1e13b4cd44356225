"""Table of every way in which the upstream can fail, by name. Pure.

The bodies are the ones that OpenAI and the ChatGPT backend send, because codex decides by them:
the same status with another `code` becomes another error for the client.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

Headers: TypeAlias = tuple[tuple[str, str], ...]

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class HttpFailure:
    """An HTTP answer in place of the stream; `body` is sent as it stands."""

    status: int
    body: bytes
    headers: Headers = ()
    content_type: str = JSON_TYPE


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """A stream that ends in `response.failed` with this error."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """A stream that ends in a bare `error` event."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class GarbageLine:
    """A line in the middle of the stream that is no JSON; the stream goes on after it."""

    line: str = "data: {this is not json"


@dataclass(frozen=True, slots=True)
class WireFailure:
    """The connection misbehaves: `hang` for ever, `reset` (RST), `eof` (whole body), `cut` (FIN).

    `endless` never stops: a head of more and more headers, slowly, or a line of the stream, as fast as it is taken.
    """

    act: Literal["hang", "reset", "eof", "cut", "endless"]
    place: Literal["before_headers", "after_headers", "mid_stream"]


Failure: TypeAlias = HttpFailure | FailedEvent | ErrorEvent | GarbageLine | WireFailure


def error_body(
    message: str,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
) -> bytes:
    """Encode OpenAI's error envelope."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return orjson.dumps({"error": error})


def _usage_limit(resets_in_seconds: int, resets_at: int) -> bytes:
    error = {
        "type": "usage_limit_reached",
        "message": "The usage limit has been reached",
        "plan_type": "plus",
        "resets_at": resets_at,
        "resets_in_seconds": resets_in_seconds,
    }
    return orjson.dumps({"error": error})


_CONTEXT = (
    "Your input exceeds the context window of this model. Please adjust your input and try again."
)
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_RATE = "Rate limit reached for requests per min (RPM). Please try again in 1s."
_PROMPT = "Invalid prompt: your prompt was flagged as potentially violating our usage policy."
_SERVER = "The server had an error while processing your request. Sorry about that!"
_BUSY = "Our servers are currently overloaded. Please try again later."

FAILURES: dict[str, Failure] = {
    # an HTTP answer in place of the stream
    "bad_request": HttpFailure(
        400, error_body("Unsupported parameter: 'x'.", param="x", code="unsupported_parameter")
    ),
    "context_length_exceeded": HttpFailure(
        400, error_body(_CONTEXT, param="input", code="context_length_exceeded")
    ),
    "invalid_prompt": HttpFailure(400, error_body(_PROMPT, code="invalid_prompt")),
    "invalid_api_key": HttpFailure(
        401, error_body("Incorrect API key provided.", code="invalid_api_key")
    ),
    "forbidden": HttpFailure(
        403,
        error_body(
            "Country, region, or territory not supported",
            kind="request_forbidden",
            code="unsupported_country_region_territory",
        ),
    ),
    "model_not_found": HttpFailure(
        404,
        error_body(
            "The model does not exist or you do not have access to it.",
            param="model",
            code="model_not_found",
        ),
    ),
    "rate_limited": HttpFailure(
        429,
        error_body(_RATE, kind="requests", code="rate_limit_exceeded"),
        headers=(("Retry-After", "1"),),
    ),
    "usage_limit_reached": HttpFailure(429, _usage_limit(3600, 4102444800)),
    "insufficient_quota": HttpFailure(
        429, error_body(_QUOTA, kind="insufficient_quota", code="insufficient_quota")
    ),
    "server_error": HttpFailure(500, error_body(_SERVER, kind="server_error")),
    "bad_gateway": HttpFailure(
        502, b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html"
    ),
    "overloaded": HttpFailure(
        503, error_body(_BUSY, kind="service_unavailable_error", code="server_is_overloaded")
    ),
    # a stream that ends in an error
    "failed_rate_limit_exceeded": FailedEvent("rate_limit_exceeded", _RATE),
    "failed_insufficient_quota": FailedEvent("insufficient_quota", _QUOTA),
    "failed_server_error": FailedEvent("server_error", _SERVER),
    "failed_invalid_prompt": FailedEvent("invalid_prompt", _PROMPT),
    "failed_context_length_exceeded": FailedEvent("context_length_exceeded", _CONTEXT),
    "error_event": ErrorEvent("server_error", _SERVER),
    "garbage_line": GarbageLine(),
    # a connection that misbehaves
    "hang_before_headers": WireFailure("hang", "before_headers"),
    "hang_after_headers": WireFailure("hang", "after_headers"),
    "hang_mid_stream": WireFailure("hang", "mid_stream"),
    "reset_before_headers": WireFailure("reset", "before_headers"),
    "reset_mid_stream": WireFailure("reset", "mid_stream"),
    "eof_before_headers": WireFailure("cut", "before_headers"),
    "eof_mid_stream": WireFailure("eof", "mid_stream"),
    "cut_mid_stream": WireFailure("cut", "mid_stream"),
    "endless_before_headers": WireFailure("endless", "before_headers"),
    "endless_mid_stream": WireFailure("endless", "mid_stream"),
}


def with_answer(failure: HttpFailure, overrides: dict[str, Any]) -> HttpFailure:
    """Give an HTTP failure another `status`, `body` or `headers`.

    A string body is sent as it stands, anything else as JSON; named headers are added to the row's.
    """
    body = overrides.get("body", failure.body)
    replaced = {name.lower() for name in overrides.get("headers", {})}
    kept = tuple(pair for pair in failure.headers if pair[0].lower() not in replaced)
    return HttpFailure(
        status=overrides.get("status", failure.status),
        body=_encoded(body),
        headers=(*kept, *overrides.get("headers", {}).items()),
        content_type=failure.content_type,
    )


def _encoded(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else orjson.dumps(body)
