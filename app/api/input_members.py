"""Members of the objects in a request of the Responses API that every endpoint reads which takes an `input`. Pure."""

from __future__ import annotations

from typing import Any

from app.api.body_fields import check_count
from app.api.members import Kinds, Members, members

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
        "compaction": Members(_ECHO | {"encrypted_content", "created_by"}),
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


def check_input(given: Any) -> None:
    """Refuse an `input` of too many entries. Raises `InvalidRequest`."""
    if isinstance(given, list):
        check_count(given, ("content", "output"), "input", "items and content parts")
