"""Response object: every member that OpenAI's has, what of the request it repeats, and how it stands. Pure.

Shape: OpenAI API reference, "The response object"; every member is always present, as the Open Responses specification
asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from app.answers.chunks import Cause
from app.answers.summary import Summary
from app.api.responses.request import ResponseRequest
from app.backend.events import Usage
from app.errors import (
    GatewayError,
    InvalidRequest,
    PromptRefused,
    QuotaExhausted,
    RateLimited,
    WorkerUnavailable,
)
from app.http.frames import in_one_line

_LONG_CHARACTERS = 4096
_PIECE_CHARACTERS = 16 * 1024
"""In one call of C, which takes some hundred microseconds."""

_INCOMPLETE: Mapping[Cause, str] = MappingProxyType(
    {Cause.TOKEN_LIMIT: "max_output_tokens", Cause.CONTENT_FILTER: "content_filter"}
)
"""OpenAI's reason for a response that is not whole; any other cause completes it."""

_IMAGE_CODES = frozenset(
    {
        *("invalid_image", "invalid_image_format", "invalid_image_url", "image_too_large"),
        *("image_parse_error", "failed_to_download_image"),
    }
)


_NOT_AGAIN: Mapping[str, Any] = MappingProxyType(
    {
        "instructions": None,
        "prompt_cache_key": None,
        "safety_identifier": None,
        "user": None,
        "tools": [],
        "metadata": {},
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
    }
)
"""What a response has of a request that is long, as it is where a request has none of it."""


def status_of(cause: Cause) -> str:
    """Return OpenAI's `status` for the end of an answer."""
    return "incomplete" if cause in _INCOMPLETE else "completed"


def terminal_event(status: str) -> str:
    """Return the name of the last event of a stream. For a response that was cancelled OpenAI documents none."""
    return "incomplete" if status == "cancelled" else status


class Heading:
    """Members that every object of one response repeats. `created` is Unix time in seconds.

    To make one takes long where a text of the request is long; to repeat it does not. The request itself is not held:
    a stream may last long, and a conversation be large.
    """

    __slots__ = ("_members", "created", "id", "model")

    def __init__(
        self,
        id_: str,
        created: int,
        model: str,
        request: ResponseRequest,
        effort: str | None,
        *,
        is_kept: bool = True,
    ) -> None:
        self.id, self.created, self.model = id_, created, model
        reasoning = {"effort": effort, "summary": _summary(request.summary)}
        repeated = {name: _written(value) for name, value in _repeated(request).items()}
        self._members = repeated | {
            "id": id_,
            "created_at": created,
            "model": model,
            "reasoning": reasoning,
            "store": is_kept and request.body.is_stored,
        }

    def begun(self, status: str = "in_progress") -> dict[str, Any]:
        """Return the response that has said nothing yet."""
        return self._members | {"status": status}

    def silent(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the response for a sign of life, without what of the request is long and was told already."""
        return self.begun(status) | {**_NOT_AGAIN, "output": output}

    def whole(
        self, cause: Cause, output: list[dict[str, Any]], usage: Usage | None, summary: Summary
    ) -> dict[str, Any]:
        """Return the response that has come to its end."""
        reason = _INCOMPLETE.get(cause)
        ended = {
            "status": status_of(cause),
            "completed_at": self.created + summary.duration_ms // 1000 if reason is None else None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "model": summary.rerouted_to or self.model,
            "output": output,
            "usage": None if usage is None else render_usage(usage),
        }
        return self.begun() | ended | {"codex_metadata": summary.metadata()}

    def failed(self, error: GatewayError, output: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the response that came to nothing. Our own code is beside OpenAI's, which are a closed list."""
        ended = {
            "status": "failed",
            "error": {"code": error_code(error), "message": error.message},
            "output": output,
        }
        return self.begun() | ended | {"codex_metadata": error.to_envelope()}

    def cancelled(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the response that its caller has given up, with what it had said by then."""
        return self.begun("cancelled") | {"output": output}


def lost(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response in the making on which nobody works any more."""
    error = WorkerUnavailable("The gateway's process that worked on this response has gone.")
    failure = {"code": error_code(error), "message": error.message}
    return {**response, "status": "failed", "error": failure, "codex_metadata": error.to_envelope()}


def _written(value: Any) -> Any:
    """Return a long text as JSON in one line, any other value as it is: events and polls repeat it again and again."""
    if not isinstance(value, str) or len(value) <= _LONG_CHARACTERS:
        return value
    starts = range(0, len(value), _PIECE_CHARACTERS)
    pieces = (orjson.dumps(value[at : at + _PIECE_CHARACTERS])[1:-1] for at in starts)
    return orjson.Fragment(b'"%b"' % b"".join(map(in_one_line, pieces)))


def _repeated(request: ResponseRequest) -> dict[str, Any]:
    """Return every member of a response that has said nothing, but for those of its heading."""
    given = request.body.given
    return {
        "id": "",
        "object": "response",
        "created_at": 0,
        "status": "in_progress",
        "background": given.get("background", False),
        "completed_at": None,
        "error": None,
        "frequency_penalty": given.get("frequency_penalty", 0.0),
        "incomplete_details": None,
        "instructions": given.get("instructions"),
        "max_output_tokens": given.get("max_output_tokens"),
        "max_tool_calls": given.get("max_tool_calls"),
        "metadata": given.get("metadata", {}),
        "model": "",
        "output": [],
        "parallel_tool_calls": given.get("parallel_tool_calls", True),
        "presence_penalty": given.get("presence_penalty", 0.0),
        "previous_response_id": given.get("previous_response_id"),
        "prompt_cache_key": given.get("prompt_cache_key"),
        "prompt_cache_retention": None,
        "reasoning": None,
        "safety_identifier": given.get("safety_identifier"),
        "service_tier": request.service_tier or "default",
        "store": False,
        "temperature": given.get("temperature", 1.0),
        "text": _text(given),
        "tool_choice": _choice(given.get("tool_choice", "auto")),
        "tools": [_tool(entry) for entry in given.get("tools", [])],
        "top_logprobs": 0,
        "top_p": given.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": None,
        "user": given.get("user"),
    }


def error_code(error: GatewayError) -> str:
    """Return OpenAI's code for the failure of a response (`ResponseError.code`)."""
    if isinstance(error, RateLimited | QuotaExhausted):
        return "rate_limit_exceeded"
    if isinstance(error, PromptRefused):
        return "invalid_prompt"
    if isinstance(error, InvalidRequest) and error.code in _IMAGE_CODES:
        return error.code
    return "server_error"


def render_usage(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's usage object of Responses."""
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input,
            "cache_write_tokens": usage.cache_write_input,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output},
        "total_tokens": usage.total,
    }


def _text(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form of the answer, with every member that OpenAI's has."""
    wanted = given.get("text", {})
    form = wanted.get("format", {"type": "text"})
    if form.get("type") == "json_schema":
        form = {"description": None, "strict": False} | form
    return {"format": form, "verbosity": wanted.get("verbosity", "medium")}


def _summary(wanted: str | None) -> str | None:
    return None if wanted == "none" else wanted  # codex's word, not OpenAI's


def _choice(wanted: Any) -> Any:
    """Return a choice of tools as OpenAI repeats it: without the wrappers of chat completions."""
    if not isinstance(wanted, Mapping):
        return wanted
    kind = wanted.get("type")
    if kind in ("none", "auto", "required"):
        return kind
    wrapped = wanted.get(str(kind))
    return {"type": kind, **wrapped} if isinstance(wrapped, Mapping) else dict(wanted)


def _tool(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool as OpenAI repeats it: a function with all of its members."""
    if entry.get("type") == "namespace":
        return {"description": ""} | dict(entry)
    if entry.get("type") != "function":
        return dict(entry)
    function = entry.get("function", entry)
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", **{name: function.get(name) for name in names}}
