"""Members of a chat completion's body that are read, object by object; `app.api.members` names the others. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.api.input_members import ITEMS, TEXT_OPTIONS
from app.api.members import Kinds, Members, members
from app.api.sampling import STREAM_OPTIONS

_TEXT = members("type", "text")
_REFUSAL = members("type", "refusal")
_IMAGE = members(
    "type",
    image_url=Members(frozenset({"url"}), harmless={"detail": ("auto",)}),
)
_FILE = members("type", file=members("file_data", "file_id", "filename"))

_NAME = {"name": ("",)}
"""What a speaker is called: without effect, and nothing where it is empty."""

_CALLED = members("name", "arguments")
# Echoes: `index` of a stream's deltas, `parsed…` of what OpenAI's SDK makes of our answers.
_CALL = members(
    *("id", "type", "index"),
    function=members("name", "arguments", "parsed_arguments"),
    custom=members("name", "input"),
)

_INPUT = Members(
    frozenset({"role", "content"}),
    {"content": Kinds("type", {"text": _TEXT, "image_url": _IMAGE, "file": _FILE})},
    _NAME,
)
_ASSISTANT = Members(
    # The last ones are an echo of our own answers.
    frozenset(
        {"role", "content", "refusal", "tool_calls", "function_call"}
        | {"reasoning_content", "annotations", "parsed"}
    ),
    {
        "content": Kinds("type", {"text": _TEXT, "refusal": _REFUSAL}),
        "tool_calls": _CALL,
        "function_call": _CALLED,
    },
    _NAME,
)
_RESULT = {"content": Kinds("type", {"text": _TEXT})}

MESSAGES = Kinds(
    "role",
    {
        "system": _INPUT,
        "developer": _INPUT,
        "user": _INPUT,
        "assistant": _ASSISTANT,
        "tool": Members(frozenset({"role", "content", "tool_call_id"}), _RESULT, _NAME),
        # A result of the legacy form has to have a name: it belongs to the call before it.
        "function": Members(frozenset({"role", "content", "name"}), _RESULT),
    },
)

_FUNCTION = Members(frozenset({"name", "description", "parameters"}), harmless={"strict": (False,)})
_CHOSEN = members("type", "name", function=members("name"), custom=members("name"))
_CHOSEN_ONES = Kinds("type", {"function": _CHOSEN, "custom": _CHOSEN})

_CHOICE = Kinds(
    "type",
    {
        "function": _CHOSEN,
        "custom": _CHOSEN,
        "allowed_tools": members(
            *("type", "mode"),
            tools=_CHOSEN_ONES,
            allowed_tools=members("mode", tools=_CHOSEN_ONES),
        ),
    },
)

_FORMAT = Kinds(
    "type",
    {
        "text": members("type"),
        "json_object": members("type"),
        "json_schema": members(
            "type", json_schema=members("name", "description", "schema", "strict")
        ),
    },
)

INNER: Mapping[str, Members | Kinds] = MappingProxyType(
    {
        "messages": MESSAGES,
        "input": ITEMS,
        "text": TEXT_OPTIONS,
        "tools": Kinds(
            "type",
            {
                # Wrapped, as chat completions have it, or flat, as the Responses API does.
                "function": Members(
                    _FUNCTION.read | {"type", "function"},
                    {"function": _FUNCTION},
                    _FUNCTION.harmless,
                ),
                "custom": members("type", "name", "description", "format", "custom"),
            },
        ),
        "functions": _FUNCTION,
        "tool_choice": _CHOICE,
        "function_call": members("name"),
        "response_format": _FORMAT,
        "stream_options": STREAM_OPTIONS,
        "reasoning": members("effort"),
    }
)
"""What the fields of a body that are objects, or arrays of them, are made of."""
