"""Fields of a chat completion request, and what becomes of each. Pure.

Honoured, accepted and ignored (and then named in `codex_metadata.ignored_parameters`), or refused: never silently
half-done. `null` means absent for every optional field, and for members of the objects in it. Unknown fields are
ignored and named, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from app.answers.field_errors import missing
from app.api.body_fields import BodyFields, check_count
from app.api.chat_completions.members import INNER
from app.api.input_members import check_input
from app.errors import InvalidRequest
from app.http.fields import OneOf, Ranged, SamplingSchema, Typed


class ChatCompletionSchema(SamplingSchema):
    """The fields whose type can be told without looking further; `request.py` reads the others."""

    model = Typed(str, "a string")
    messages = Typed(list, "an array of messages")
    # Of the Responses API: some editors send its fields to this route.
    input = fields.Raw()
    instructions = Typed(str, "a string")
    max_output_tokens = Ranged(1, 1 << 40, whole=True)
    text = Typed(dict, "an object")
    stream = Typed(bool, "a boolean")
    stream_options = Typed(dict, "an object")
    reasoning_effort = Typed(str, "a string")
    reasoning = Typed(dict, "an object")
    service_tier = OneOf("auto", "default", "flex", "priority", "fast", "scale")
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
"""Sent by habit, without effect here. The values beside a name change nothing, so they are not reported. Of a field
that is not in here every value is."""

REFUSED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "audio": (),
        "logprobs": (False,),
        "modalities": (["text"],),
        "top_logprobs": (0,),
    }
)
"""Would change what the answer is, so a 400; except with the values beside the name, which ask for nothing."""

FIELDS = BodyFields(ChatCompletionSchema(), INNER, ignored=IGNORED, refused=REFUSED)


def check_fields(
    body: Mapping[str, Any], *, needs_model: bool = True
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields that were given, and the names of those that have no effect. Raises `InvalidRequest`."""
    given, known = FIELDS.load(body, needs_model=needs_model)
    _check_conversation(known)
    known, body_pass = FIELDS.read(given, known)
    for name in _overruled(known):
        body_pass.note(name)
    return known, FIELDS.names(body_pass)


def _overruled(known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields that have no effect because of another one, or of their value."""
    if known.get("service_tier") == "scale":
        yield "service_tier"  # codex does not hand it on
    if "messages" in known:
        yield from (name for name in ("input", "instructions") if known.get(name))
    if "reasoning_effort" in known and "reasoning" in known:
        effort = known["reasoning"].get("effort")
        if effort not in (None, known["reasoning_effort"]):
            yield "reasoning.effort"
    limits = [name for name in TOKEN_LIMITS if name in known]
    yield from (name for name in limits[1:] if known[name] != known[limits[0]])
    if known.get("tools"):
        yield from (name for name in ("functions", "function_call") if known.get(name))
    elif known.get("functions") and known.get("tool_choice", "auto") != "auto":
        yield "tool_choice"


TOKEN_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""Fields that say how long the answer may be; the first that is given counts."""


def _check_conversation(known: Mapping[str, Any]) -> None:
    messages = known.get("messages")
    if messages is None:
        if "input" not in known:
            raise missing("messages")
        check_input(known["input"])
        return
    if not messages:
        raise InvalidRequest(
            "Invalid 'messages': empty array. Expected at least one message.",
            param="messages",
            code="empty_array",
        )
    what = "messages, content parts and tool calls"
    check_count(messages, ("content", "tool_calls"), "messages", what)
