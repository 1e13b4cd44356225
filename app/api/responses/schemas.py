"""Fields of a request to the Responses API, and what becomes of each. Pure.

Honoured, accepted and ignored (and then named in `codex_metadata.ignored_parameters`), or refused, as on the chat
route. `null` means absent for every optional field, and for members of the objects in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from app.answers.field_errors import missing, unsupported
from app.api.members import BodyPass, BodyShape, Kinds, Members, members
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


MOST_ENTRIES = 20_000
"""Items and parts in one request. Reading them costs the worker's only thread microseconds each."""

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
        "background": (False,),
        "conversation": (),
        "prompt": (),
        "top_logprobs": (0,),
    }
)
"""Would change what the answer is, so a 400; except with the values beside the name, which ask for nothing."""

_TEXT = members("type", "text")
_IMAGE = Members(
    frozenset({"type", "image_url", "file_id"}), harmless={"detail": ("auto",), "file_id": ()}
)
_FILE = members("type", "file_data", "filename", "file_id", "file_url")
_SAID = Members(
    frozenset({"type", "text", "refusal"}), harmless={"annotations": ([],), "logprobs": ([],)}
)
_PARTS = Kinds(
    "type",
    {
        **dict.fromkeys(("input_text", "text"), _TEXT),
        "output_text": _SAID,
        "refusal": _SAID,
        "input_image": _IMAGE,
        "input_file": _FILE,
    },
)
_ECHO = frozenset({"id", "status", "type"})
"""Members of our own answers, which come back with them."""

_CALL = _ECHO | {"call_id", "name", "namespace"}
_RESULT = Members(_ECHO | {"call_id", "output"}, {"output": _PARTS})

ITEMS = Kinds(
    "type",
    {
        "message": Members(_ECHO | {"role", "content", "phase"}, {"content": _PARTS}),
        "function_call": Members(_CALL | {"arguments", "parsed_arguments"}),
        "custom_tool_call": Members(_CALL | {"input"}),
        "function_call_output": _RESULT,
        "custom_tool_call_output": _RESULT,
        "reasoning": Members(_ECHO | {"summary", "encrypted_content", "content"}),
    },
)
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
        "text": members(
            "verbosity",
            format=Kinds(
                "type",
                {
                    "text": members("type"),
                    "json_object": members("type"),
                    "json_schema": members("type", "name", "description", "schema", "strict"),
                },
            ),
        ),
    }
)
_SCHEMA = ResponseSchema()
_READ = frozenset({*_SCHEMA.fields, *REFUSED} - IGNORED.keys())
_BODY = BodyShape(Members(_READ, _INNER, IGNORED))


def check_fields(
    body: Mapping[str, Any], *, needs_model: bool = True
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields that were given, and the names of those that have no effect. Raises `InvalidRequest`."""
    given = dict(body)
    if None in body.values():
        given = {name: value for name, value in body.items() if value is not None}
    if needs_model and "model" not in given:
        raise missing("model")
    known: dict[str, Any] = _SCHEMA.load(given)
    for name, harmless in REFUSED.items():
        if name in given and given[name] not in harmless:
            raise unsupported(name)
    if "input" in known:
        _check_count(known["input"])
    elif "previous_response_id" not in known:
        raise missing("input")
    body_pass = BodyPass()
    read = body_pass.over(given, _BODY)
    known = {name: read[name] for name in known}
    for name in _without_effect(known):
        body_pass.note(name)
    return known, body_pass.names(IGNORED)


def _without_effect(known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields that have no effect because of their value."""
    if known.get("service_tier") == "scale":
        yield "service_tier"  # codex does not hand it on


def _check_count(given: Any) -> None:
    """Refuse what would take long only because there is so much of it."""
    if not isinstance(given, list):
        return
    count = len(given)
    if count <= MOST_ENTRIES:
        for item in given:
            if isinstance(item, dict):
                lists = (item.get("content"), item.get("output"))
                count += sum(len(entries) for entries in lists if isinstance(entries, list))
    if count > MOST_ENTRIES:
        raise InvalidRequest(
            f"Invalid 'input': array too long. Expected at most {MOST_ENTRIES} items and content parts together, but "
            f"got {count} instead.",
            param="input",
            code="array_above_max_length",
        )
