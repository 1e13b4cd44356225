"""Fields of a request to the Responses API, and what becomes of each. Pure.

Honoured, accepted and ignored (and then named in `codex_metadata.ignored_parameters`), or refused, as on the chat
route. `null` means absent for every optional field, and for members of the objects in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from app.answers.field_errors import missing
from app.api.body_fields import BodyFields
from app.api.input_members import ITEMS, TEXT_OPTIONS, check_input
from app.api.members import Kinds, Members
from app.api.responses.input_list import written
from app.api.sampling import STREAM_OPTIONS
from app.errors import InvalidRequest
from app.http.fields import OneOf, Ranged, SamplingSchema, Typed


class ResponseSchema(SamplingSchema):
    """The fields whose type can be told without looking further; `request.py` reads the others."""

    model = Typed(str, "a string")
    input = fields.Raw()
    instructions = Typed(str, "a string")
    previous_response_id = Typed(str, "a string")
    store = Typed(bool, "a boolean")
    stream = Typed(bool, "a boolean")
    stream_options = Typed(dict, "an object")
    reasoning = Typed(dict, "an object")
    text = Typed(dict, "an object")
    include = Typed(list, "an array of strings")
    metadata = Typed(dict, "an object")
    service_tier = OneOf("auto", "default", "flex", "priority", "fast", "scale")
    truncation = OneOf("auto", "disabled")
    max_output_tokens = Ranged(1, 1 << 40, whole=True)
    max_tool_calls = Ranged(1, 1 << 40, whole=True)
    parallel_tool_calls = Typed(bool, "a boolean")
    tools = fields.Raw()
    tool_choice = fields.Raw()
    top_logprobs = Ranged(0, 20, whole=True)
    background = Typed(bool, "a boolean")
    prompt_cache_key = Typed(str, "a string")
    safety_identifier = Typed(str, "a string")
    user = Typed(str, "a string")


IGNORED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "temperature": (1,),
        "top_p": (1,),
        "presence_penalty": (0,),
        "frequency_penalty": (0,),
        "seed": (),
        "client_metadata": (),
        "context_management": ([],),
        "max_tool_calls": (),
        "moderation": (),
        "prompt_cache_retention": (),
        "prompt_cache_options": (),
        "truncation": ("disabled",),
    }
)
"""Sent by habit, without effect here. The values beside a name change nothing, so they are not reported."""

REFUSED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "conversation": (),
        "prompt": (),
        "top_logprobs": (0,),
    }
)
"""Would change what the answer is, so a 400; except with the values beside the name, which ask for nothing."""

_FUNCTION = Members(
    frozenset({"type", "name", "description", "parameters", "function"}),
    harmless={"strict": (False,), "defer_loading": (False,)},
)
_INNER: Mapping[str, Members | Kinds] = MappingProxyType(
    {
        "input": ITEMS,
        "tools": Kinds("type", {"function": _FUNCTION}),
        "stream_options": STREAM_OPTIONS,
        "reasoning": Members(
            frozenset({"effort", "summary", "generate_summary"}), harmless={"context": ("auto",)}
        ),
        "text": TEXT_OPTIONS,
    }
)
_TOLD_AGAIN = ("tools", "tool_choice", "text")
"""Fields that are repeated as they are, with what no one has read in them."""

FIELDS = BodyFields(ResponseSchema(), _INNER, ignored=IGNORED, refused=REFUSED)


def check_fields(
    body: Mapping[str, Any], *, needs_model: bool = True
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields that were given, and the names of those that have no effect. Raises `InvalidRequest`."""
    if body.get("conversation") is not None:
        raise InvalidRequest(
            "Unsupported parameter: 'conversation' is not supported, since this gateway keeps responses and no "
            "conversations. Go on with 'previous_response_id', or send the whole conversation as 'input'.",
            param="conversation",
            code="unsupported_parameter",
        )
    given, known = FIELDS.load(body, needs_model=needs_model)
    if "input" in known:
        check_input(known["input"])
    elif "previous_response_id" not in known:
        raise missing("input")
    for name in filter(known.__contains__, _TOLD_AGAIN):
        written(known[name], name)
    known, body_pass = FIELDS.read(given, known)
    for name in _without_effect(known):
        body_pass.note(name)
    return known, FIELDS.names(body_pass)


def _without_effect(known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields that have no effect because of their value."""
    if known.get("service_tier") == "scale":
        yield "service_tier"  # codex does not hand it on
