"""Fields of a chat completion request, and what becomes of each. Pure.

Honoured, accepted and ignored (and then named in `codex_metadata.ignored_parameters`), or refused: never silently
half-done. `null` means absent for every optional field. Unknown fields are ignored, as OpenAI's own SDKs add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from app.answers.field_errors import missing, unsupported
from app.errors import InvalidRequest
from app.http.fields import OneOf, Ranged, SamplingSchema, Typed


class ChatCompletionSchema(SamplingSchema):
    """The fields whose type can be told without looking further; `request.py` reads the others."""

    model = Typed(str, "a string")
    messages = Typed(list, "an array of messages", required=True)
    stream = Typed(bool, "a boolean")
    stream_options = Typed(dict, "an object")
    reasoning_effort = Typed(str, "a string")
    service_tier = OneOf("auto", "default", "flex", "priority", "scale")
    verbosity = OneOf("low", "medium", "high")
    n = Ranged(1, 128, whole=True)
    max_tokens = Ranged(1, 1 << 40, whole=True)
    max_completion_tokens = Ranged(1, 1 << 40, whole=True)
    parallel_tool_calls = Typed(bool, "a boolean")
    tools = fields.Raw()
    tool_choice = fields.Raw()
    functions = fields.Raw()
    function_call = fields.Raw()
    response_format = fields.Raw()
    stop = fields.Raw()
    logprobs = Typed(bool, "a boolean")
    top_logprobs = Ranged(0, 20, whole=True)


MOST_ENTRIES = 20_000
"""Messages, parts and calls in one request. Reading them costs the worker's only thread microseconds each."""

IGNORED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "temperature": (1,),
        "top_p": (1,),
        "seed": (),
        "presence_penalty": (0,),
        "frequency_penalty": (0,),
        "logit_bias": ({},),
        "metadata": ({},),
        "prediction": (),
        "prompt_cache_key": (),
        "prompt_cache_retention": (),
        "safety_identifier": (),
        "store": (False,),
        "user": (),
        "web_search_options": (),
    }
)
"""Sent by habit, without effect here. The values beside a name change nothing, so they are not reported."""

REFUSED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "audio": (),
        "logprobs": (False,),
        "modalities": (["text"],),
        "top_logprobs": (0,),
    }
)
"""Would change what the answer is, so a 400; except with the values beside the name, which ask for nothing."""

_SCHEMA = ChatCompletionSchema()


def check_fields(
    body: Mapping[str, Any], *, needs_model: bool = True
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields that were given, and the names of those that have no effect. Raises `InvalidRequest`."""
    given = {name: value for name, value in body.items() if value is not None}
    for name in ("model", "messages") if needs_model else ("messages",):
        if name not in given:
            raise missing(name)
    known: dict[str, Any] = _SCHEMA.load(given)
    for name, harmless in REFUSED.items():
        if name in given and given[name] not in harmless:
            raise unsupported(name)
    if not known["messages"]:
        raise InvalidRequest(
            "Invalid 'messages': empty array. Expected at least one message.",
            param="messages",
            code="empty_array",
        )
    _check_count(known["messages"])
    return known, _ignored(given)


def _check_count(messages: list[Any]) -> None:
    """Refuse what would take long only because there is so much of it."""
    count = len(messages)
    if count <= MOST_ENTRIES:
        for message in messages:
            if isinstance(message, dict):
                lists = (message.get("content"), message.get("tool_calls"))
                count += sum(len(entries) for entries in lists if isinstance(entries, list))
    if count > MOST_ENTRIES:
        raise InvalidRequest(
            f"Invalid 'messages': array too long. Expected at most {MOST_ENTRIES} messages, content parts and tool "
            f"calls together, but got {count} instead.",
            param="messages",
            code="array_above_max_length",
        )


def _ignored(given: Mapping[str, Any]) -> tuple[str, ...]:
    names = [name for name, harmless in IGNORED.items() if name in given]
    names = [name for name in names if given[name] not in IGNORED[name]]
    if any(isinstance(m, dict) and m.get("name") for m in given["messages"]):
        names.append("messages.name")
    if any(map(_asks_for_detail, given["messages"])):
        names.append("messages.content.image_url.detail")
    tools = given.get("tools")
    if isinstance(tools, list) and any(map(_is_strict, tools)):
        names.append("tools.function.strict")
    return tuple(names)


def _asks_for_detail(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return False
    images = [part.get("image_url") for part in content if isinstance(part, dict)]
    return any(
        isinstance(image, dict) and image.get("detail") not in (None, "auto") for image in images
    )


def _is_strict(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and function.get("strict") is True
