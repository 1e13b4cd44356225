"""Reader of `tool_choice`, in the form of chat completions or of the Responses API: what the model may call. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from app.answers.field_errors import invalid_type, invalid_value, missing, required_string
from app.answers.tools import Tool
from app.api.tools import ClientTool, is_hosted
from app.errors import InvalidRequest

# At the beginning of the conversation, so that it is the same in every round.
_CALL_ONE = "In each of your turns you must call one of the functions; do not answer in words."
_CALL_THIS = "In each of your turns you must call the function {}; do not answer in words."
_MODES = ("none", "auto", "required")


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """What the model may call (`offered`) and whether it has to. It may know the other `tools` from the history."""

    tools: tuple[Tool, ...]
    offered: tuple[Tool, ...] = ()
    is_required: bool = False
    instruction: str | None = None


def parse_choice(
    wanted: Any, tools: Sequence[ClientTool], where: str, modes: tuple[str, ...] = _MODES
) -> ToolChoice:
    """Read a choice among tools of which there is at least one. Raises `InvalidRequest`, which names the field."""
    known = tuple(entry.tool for entry in tools)
    if isinstance(wanted, dict) and set(wanted) == {"type"} and wanted["type"] in modes:
        wanted = wanted["type"]  # so some editors write it
    is_legacy = where == "function_call"
    if isinstance(wanted, dict) and wanted.get("type") == "allowed_tools" and not is_legacy:
        return _allowed(tools, wanted, where)
    if wanted == "none":
        return ToolChoice(known)
    if wanted == "auto":
        return ToolChoice(known, known)
    if wanted == "required" and wanted in modes:
        return ToolChoice(known, known, is_required=True, instruction=_CALL_ONE)
    if not isinstance(wanted, dict):
        raise invalid_value(where, wanted, modes)
    tool = _named(wanted, tools, where)
    text = _CALL_THIS.format(tool.alias)
    return ToolChoice(known, (tool,), is_required=True, instruction=text)


def without_tools(wanted: Any, where: str, source: str) -> None:
    """Refuse a choice where nothing is offered, unless it asks for nothing."""
    if isinstance(wanted, dict) and wanted.get("type") in ("none", "auto"):
        return
    if wanted not in ("none", "auto"):  # it may be a dict, which no set can hold
        raise InvalidRequest(f"'{where}' is only allowed when '{source}' are given.", param=where)


def find_tool(tools: Sequence[ClientTool], name: str, at: str) -> Tool:
    """Return the tool that the client calls by this name. Raises `InvalidRequest`."""
    exactly = (entry.tool for entry in tools if entry.tool.name == name)
    in_namespace = (entry.tool for entry in tools if entry.name == name)
    if found := next(chain(exactly, in_namespace), None):
        return found
    raise InvalidRequest(f"Invalid '{at}': no function '{name[:64]}' is offered.", param=at)


def _allowed(tools: Sequence[ClientTool], wanted: Mapping[str, Any], at: str) -> ToolChoice:
    """Read a choice of some of the tools, which are then the only ones that are offered."""
    mode, entries, where = _allowed_members(wanted, at)
    wanted_names = {
        _named(entry, tools, f"{where}[{index}]").name
        for index, entry in enumerate(entries)
        if not is_hosted(entry)
    }
    known = tuple(entry.tool for entry in tools)
    offered = tuple(tool for tool in known if tool.name in wanted_names)
    if mode == "auto" or not offered:
        return ToolChoice(known, offered)
    return ToolChoice(known, offered, is_required=True, instruction=_CALL_ONE)


def _allowed_members(wanted: Mapping[str, Any], at: str) -> tuple[str, list[Any], str]:
    """Return mode and tools, in a wrapper or beside the type, and the field of the tools."""
    given, where = wanted.get("allowed_tools"), f"{at}.allowed_tools"
    if given is None and "tools" in wanted:
        given, where = wanted, at
    if given is None:
        raise missing(where)
    if not isinstance(given, dict):
        raise invalid_type(where, "an object", given)
    mode, entries = given.get("mode"), given.get("tools")
    for member, value in (("mode", mode), ("tools", entries)):
        if value is None:
            raise missing(f"{where}.{member}")
    if mode not in ("auto", "required"):
        raise invalid_value(f"{where}.mode", mode, ("auto", "required"))
    if not isinstance(entries, list):
        raise invalid_type(f"{where}.tools", "an array of tools", entries)
    return mode, entries, f"{where}.tools"


def _named(wanted: Any, tools: Sequence[ClientTool], where: str) -> Tool:
    """Return the tool that a choice names: in a wrapper, or beside its type."""
    if not isinstance(wanted, dict):
        raise invalid_type(where, "an object", wanted)
    if where == "function_call":  # the legacy form has a name alone
        return find_tool(tools, required_string(wanted, "name", where), f"{where}.name")
    kind = wanted.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    forms = [form for form in ("function", "custom") if any(form in it.form.value for it in tools)]
    if kind not in forms:
        raise invalid_value(f"{where}.type", kind, forms)
    function, at = wanted, where
    if "name" not in wanted:
        function, at = wanted.get(kind, {}), f"{where}.{kind}"
        if not isinstance(function, dict):
            raise invalid_type(at, "an object", function)
    return find_tool(tools, required_string(function, "name", at), f"{at}.name")
