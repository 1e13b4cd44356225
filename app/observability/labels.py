"""Labels of metrics, from known sets. Pure: any other value is `other`, so no caller can make a new series.

Routes come from the URL map and models from codex's list: those sets are bounded where they are made.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection

from app import errors

NONE = "none"
OTHER = "other"

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

OUTCOMES = ("completed", "failed", "client_left", "slow_reader")
"""How a request can end."""

BACKGROUND_OUTCOMES = ("completed", "failed", "cancelled")
"""How a background response can end."""

KEY_LIMITS = ("key_rate", "key_concurrency")
"""Which limit of its key a request can be beyond."""

CUTS = ("silent", "slow_head", "slow_reader", "made_room")
"""Why this side ends a client's connection."""

KEY_RATE_LIMITED = "KEY_RATE_LIMITED"
"""In place of the code that the client gets, which the account's limit has, too: an alert has to tell them apart."""

_FINER_CODES = frozenset(
    {
        "BODIES_FULL",
        "INCOMPLETE_BODY",
        "INVALID_ENCODING",
        "INVALID_WEBSOCKET",
        "KEY_BUSY",
        "PROMPTS_FULL",
        "RESPONSE_IN_PROGRESS",
        "websocket_connection_limit_reached",
        "TOOLS_TOO_LARGE",
        "TRACE_NOT_FOUND",
        "array_above_max_length",
        "string_above_max_length",
        "object_above_max_properties",
        "previous_response_not_found",
        "empty_array",
        "empty_image_file",
        "image_parse_error",
        "image_too_large",
        "image_file_too_large",
        "integer_above_max_value",
        "invalid_function_parameters",
        "invalid_image_format",
        "invalid_image_url",
        "invalid_json_schema",
        "invalid_type",
        "missing_required_parameter",
        "unsupported_parameter",
        "unsupported_value",
    }
)

CODES = _FINER_CODES | {
    found.default_code
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, errors.GatewayError)
}
"""Every code of ours. An upstream's own code is passed on to its caller, and may be anything."""


IGNORED_PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "logit_bias"),
        *("metadata", "moderation", "prediction", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "safety_identifier", "service_tier", "store", "user"),
        *("web_search_options", "max_tokens", "functions", "function_call", "tool_choice"),
        *("top_k", "min_p", "repetition_penalty", "thinking", "extra_body", "think", "options"),
        *("reasoning.effort", "reasoning.summary", "reasoning.max_tokens", "reasoning.exclude"),
        *("stream_options.include_obfuscation", "tools.function.strict", "tools.cache_control"),
        "response_format.json_schema.schema",
        *("messages.name", "messages.thinking", "messages.reasoning", "messages.cache_control"),
        *("messages.content.cache_control", "messages.content.image_url.detail"),
        *("messages.content.file", "messages.content.image_url", "messages.content.input_audio"),
    }
)
"""What clients are known to send in vain."""

_KEYWORD_OF_A_SCHEMA = re.compile(r"(?<=\.schema)\..*", re.DOTALL)
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_MEMBER = re.compile(r"[A-Za-z0-9_.$-]{1,128}")


def method(name: str) -> str:
    """Return the HTTP method, or `other`: a request line may hold any word."""
    return name if name in METHODS else OTHER


def parameter(name: str) -> str:
    """Return the name of an ignored parameter, without the keyword of a schema, which may be any word."""
    return _KEYWORD_OF_A_SCHEMA.sub("", name)


def model(name: str, known: Collection[str]) -> str:
    """Return the name of a known model, which stands for its dated snapshots too; else `other`."""
    family = _SNAPSHOT.sub("", name)
    return next((one for one in (name, family) if one in known), OTHER)


def ignored_parameter(name: str) -> str:
    """Return the dotted name of a field, `other` for one that is not known: a body may hold any."""
    return name if name in IGNORED_PARAMETERS else OTHER


def code(name: str | None) -> str:
    """Return the error code, `none` without an error, `other` for one that is not ours."""
    if name is None:
        return NONE
    return name if name in CODES else OTHER


def limited_code(name: str | None, limited_by: str | None) -> str:
    """Return the same, told apart where a key's own limit has the code of the account's."""
    return KEY_RATE_LIMITED if limited_by == "key_rate" else code(name)


def loggable_code(name: str | None) -> str | None:
    """Return the error code as the log may show it: any single word, for an upstream's code is worth knowing."""
    return name if name is None or _WORD.fullmatch(name) else OTHER


def loggable_parameter(name: str) -> str:
    """Return the dotted name of a field as the log may show it: words and dots, for a new one is worth knowing."""
    return name if _MEMBER.fullmatch(name) else OTHER
