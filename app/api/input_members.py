"""Members of the objects in a request of the Responses API that every endpoint reads which takes an `input`. Pure."""

from __future__ import annotations

from typing import Any

from app.api.members import Kinds, Members, members
from app.errors import InvalidRequest

MOST_ENTRIES = 20_000
"""Items and parts in one request. Reading them costs the worker's only thread microseconds each."""

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
        "item_reference": members("id", "type"),
    },
    otherwise="message",
)

TEXT_OPTIONS = members(
    "verbosity",
    format=Kinds(
        "type",
        {
            "text": members("type"),
            "json_object": members("type"),
            "json_schema": members("type", "name", "description", "schema", "strict"),
        },
    ),
)


def check_count(given: Any) -> None:
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
