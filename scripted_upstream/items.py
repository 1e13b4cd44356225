"""Validation of input items as OpenAI does it: known types, content that fits the role, paired calls. Pure.

A complaint is a message, the parameter it is about, and a code or None.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

Complaint: TypeAlias = tuple[str, str | None, str | None]

ROLES = ("assistant", "system", "developer", "user")

_SPOKEN = ("output_text", "refusal")
_HEARD = ("input_text", "input_image", "input_file", "input_audio")
_CONTENT = {"assistant": _SPOKEN, "system": _HEARD, "developer": _HEARD, "user": _HEARD}
_CALLS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "local_shell_call": "local_shell_call_output",
}
_OUTPUTS = {output: call for call, output in _CALLS.items()}
_OTHER_TYPES = (
    "message",
    "reasoning",
    "item_reference",
    "web_search_call",
    "file_search_call",
    "computer_call",
    "computer_call_output",
    "image_generation_call",
    "code_interpreter_call",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "compaction",
)
_SEAL = "sealed:"
_LONGEST_CALL_ID = 64

ITEM_TYPES = (*_OTHER_TYPES, *_CALLS, *_OUTPUTS)


def refuse_input(entries: Any) -> Iterator[Complaint]:
    """Yield what OpenAI would say against a list of input items, in their order."""
    if not isinstance(entries, list):
        yield (
            "Invalid type for 'input': expected a string or an array of objects.",
            "input",
            "invalid_type",
        )
        return
    for place, entry in enumerate(entries):
        yield from _item(entry, f"input[{place}]")
    yield from _unpaired([entry for entry in entries if isinstance(entry, dict)])


def _item(entry: Any, where: str) -> Iterator[Complaint]:
    if not isinstance(entry, dict):
        yield f"Invalid type for '{where}': expected an object.", where, "invalid_type"
        return
    kind = entry.get("type", "message" if "role" in entry else None)
    if kind == "message":
        yield from _message(entry, where)
    elif kind not in ITEM_TYPES:
        yield _value(kind, ITEM_TYPES, where)
    elif kind == "reasoning":
        yield from _reasoning(entry)
    elif kind in _CALLS or kind in _OUTPUTS:
        yield from _paired(entry, where)


def _message(entry: dict[str, Any], where: str) -> Iterator[Complaint]:
    role = entry.get("role")
    allowed = _CONTENT.get(str(role))
    if allowed is None:
        yield _value(role, ROLES, f"{where}.role")
        return
    yield from _parts(entry.get("content"), allowed, f"{where}.content")


def seal(text: str, item_id: str) -> str:
    """Return encrypted content that is good only in the item of this id."""
    return f"{_SEAL}{text}:{item_id}"


def _reasoning(entry: dict[str, Any]) -> Iterator[Complaint]:
    sealed, item_id = str(entry.get("encrypted_content")), str(entry.get("id"))
    if sealed.startswith(_SEAL) and not sealed.endswith(f":{item_id}"):
        message = (
            f"The encrypted content for item {item_id} could not be verified. Reason: Encrypted content item_id did "
            "not match the target item id."
        )
        yield message, None, "invalid_encrypted_content"


def _paired(entry: dict[str, Any], where: str) -> Iterator[Complaint]:
    call_id = entry.get("call_id")
    if not isinstance(call_id, str):
        yield _missing(f"{where}.call_id")
    elif not call_id:
        message = (
            f"Invalid '{where}.call_id': empty string. Expected a string with minimum length 1."
        )
        yield message, f"{where}.call_id", "empty_string"
    elif len(call_id) > _LONGEST_CALL_ID:
        message = (
            f"Invalid '{where}.call_id': string too long. Expected a string with maximum length {_LONGEST_CALL_ID}, "
            f"but got a string with length {len(call_id)} instead."
        )
        yield message, f"{where}.call_id", "string_above_max_length"
    if entry["type"] not in _OUTPUTS:
        return
    if "output" not in entry:
        yield _missing(f"{where}.output")
    else:
        yield from _parts(entry["output"], _HEARD, f"{where}.output")


def _parts(content: Any, allowed: tuple[str, ...], where: str) -> Iterator[Complaint]:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        message = f"Invalid type for '{where}': expected a string or an array of objects."
        yield message, where, "invalid_type"
        return
    for place, part in enumerate(content):
        param = f"{where}[{place}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in allowed:
            yield _value(kind, allowed, param)
        elif kind in ("input_text", "output_text") and not isinstance(part.get("text"), str):
            yield _missing(f"{param}.text")
        elif kind == "input_image":
            yield from _image(part, f"{param}.image_url")


def _image(part: dict[str, Any], where: str) -> Iterator[Complaint]:
    url = part.get("image_url")
    if url is None and part.get("file_id"):
        return
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "data:image/")):
        message = (
            f"Invalid '{where}'. Expected a valid URL, but got a value with an invalid format."
        )
        yield message, where, "invalid_value"


def _unpaired(entries: list[dict[str, Any]]) -> Iterator[Complaint]:
    """Yield outputs that no earlier call asked for, then calls that nobody answered."""
    open_calls: dict[tuple[str, str], None] = {}
    answered: set[tuple[str, str]] = set()
    for entry in entries:
        kind, call_id = str(entry.get("type")), str(entry.get("call_id"))
        if kind in _CALLS:
            if (kind, call_id) in open_calls or (kind, call_id) in answered:
                message = f"Duplicate call_id found in input: '{call_id}' belongs to more than one {_words(kind)}."
                yield message, "input", None
            open_calls[kind, call_id] = None
        elif kind in _OUTPUTS:
            asked = (_OUTPUTS[kind], call_id)
            if asked not in open_calls and asked not in answered:
                message = f"No tool call found for {_words(kind)} with call_id {call_id}."
                yield message, "input", None
            open_calls.pop(asked, None)
            answered.add(asked)
    for kind, call_id in open_calls:
        yield f"No tool output found for {_words(kind)} {call_id}.", "input", None


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _missing(param: str) -> Complaint:
    return f"Missing required parameter: '{param}'.", param, "missing_required_parameter"


def _value(value: Any, allowed: tuple[str, ...], param: str) -> Complaint:
    listed = ", ".join(f"'{known}'" for known in allowed)
    return f"Invalid value: '{value}'. Supported values are: {listed}.", param, "invalid_value"
