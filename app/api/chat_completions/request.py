"""Body of a chat completion request, into what is asked of codex and the constraints of its answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from app.answers.constraints import AnswerConstraints
from app.answers.field_errors import invalid_type, invalid_value, missing, required_string
from app.answers.output_format import TEXT, OutputFormat
from app.answers.tools import (
    Tool,
    check_amount,
    check_distinct,
    names_by_alias,
    parse_function,
    to_dynamic_tool,
)
from app.api.chat_completions.content import ImageFields, Past, PixelCount
from app.api.chat_completions.messages import to_items
from app.api.chat_completions.response_format import parse_format
from app.api.chat_completions.schemas import check_fields
from app.api.chat_completions.tools import parse_tools
from app.api.members import with_names
from app.api.sampling import PARAGRAPH, choice_count, include_usage, stop_sequences
from app.backend.request import Item, developer_item, estimate_tokens
from app.errors import InvalidRequest
from app.images.dimensions import check_together

_CALL_ONE = "You must call one of the functions in this turn; do not answer in words."
_CALL_THIS = "You must call the function {} in this turn; do not answer in words."


@dataclass(frozen=True, slots=True)
class RequestFields:
    """Fields of this one request, for errors: of the effort, and of each tool's name, by the name that codex knows.

    Beside a tool's field is its name in the caller's words.
    """

    effort: str = "reasoning_effort"
    tools: Mapping[str, tuple[str, str]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request. `model` is None where the gateway's default is meant.

    `image_fields` has the address of each remote image after the model's last answer, and the field that names it
    first; `past_images` has those before it. `pixels` is the number of all others. `names` are what the caller calls
    the conversation.
    """

    model: str | None
    items: tuple[Item, ...]
    instructions: tuple[Item, ...]
    image_fields: Mapping[str, str]
    stream: bool
    include_usage: bool
    n: int
    effort: str | None
    service_tier: str | None
    verbosity: str | None
    dynamic_tools: tuple[Mapping[str, Any], ...]
    output_schema: Mapping[str, Any] | None
    constraints: AnswerConstraints
    legacy_calls: bool
    ignored: tuple[str, ...]
    fields: RequestFields = field(default_factory=RequestFields)
    past_images: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    pixels: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """What the model may call (`offered`) and whether it has to. It may know the other `tools` from the history."""

    tools: tuple[Tool, ...]
    offered: tuple[Tool, ...] = ()
    is_required: bool = False
    instruction: str | None = None


def parse_request(
    body: Mapping[str, Any],
    *,
    max_choices: int,
    shows_reasoning: bool,
    commentary_is_reasoning: bool = False,
    needs_model: bool = True,
) -> ChatRequest:
    """Check the body. Raises `InvalidRequest`, which names the first field that is wrong."""
    given, ignored = check_fields(body, needs_model=needs_model)
    choice = _tool_choice(given)
    output = parse_format(given["response_format"]) if "response_format" in given else TEXT
    image_fields, past, count = ImageFields(), Past(), PixelCount()
    items = _items(given["messages"], image_fields, past, count)
    return ChatRequest(
        model=given.get("model"),
        items=items,
        instructions=_instructions(choice.instruction, output.instruction),
        image_fields=image_fields,
        stream=given.get("stream", False),
        include_usage=include_usage(given),
        n=choice_count(given, max_choices),
        effort=_effort(given)[0],
        service_tier=_service_tier(given),
        verbosity=given.get("verbosity"),
        dynamic_tools=tuple(map(to_dynamic_tool, choice.offered)),
        output_schema=output.strict_schema,
        constraints=replace(
            _constraints(given, choice, output),
            shows_reasoning=shows_reasoning,
            prompt_tokens=estimate_tokens(items),
            commentary_is_reasoning=commentary_is_reasoning,
        ),
        legacy_calls=_is_legacy(given),
        ignored=with_names(ignored, (*output.ignored, *past.unread)),
        fields=_fields(given, choice.tools),
        past_images=past.images,
        pixels=count.total,
        names=_names(body),
    )


def _items(
    messages: Sequence[Any], image_fields: ImageFields, past: Past, count: PixelCount
) -> tuple[Item, ...]:
    items = to_items(messages, image_fields, past, count)
    check_together(count.total, "messages")
    return items


def _instructions(*texts: str | None) -> tuple[Item, ...]:
    return tuple(developer_item(text) for text in texts if text)


CONVERSATION_NAMES = ("prompt_cache_key", "safety_identifier", "user")
"""Fields in which clients name a conversation, or whoever leads it."""


def _names(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names beside their fields, so that one field's is not another's."""
    named = ((name, body.get(name)) for name in CONVERSATION_NAMES)
    return tuple(f"{name}={value}" for name, value in named if value and isinstance(value, str))


def _constraints(
    given: Mapping[str, Any], choice: ToolChoice, output: OutputFormat
) -> AnswerConstraints:
    return AnswerConstraints(
        stops=stop_sequences(given.get("stop")),
        max_tokens=given.get("max_completion_tokens", given.get("max_tokens")),
        names=names_by_alias(tool.name for tool in choice.tools),
        offers_tools=bool(choice.offered),
        requires_tool=choice.is_required,
        parallel_calls=given.get("parallel_tool_calls", True) and not _is_legacy(given),
        output=output,
        # A stream is gone before it could be checked, and a model that may call tools may do that instead.
        can_check=not given.get("stream", False) and not choice.offered,
        separator=PARAGRAPH,
    )


def _is_legacy(given: Mapping[str, Any]) -> bool:
    return bool(given.get("functions")) and not given.get("tools")


# Tools


def _tool_choice(given: Mapping[str, Any]) -> ToolChoice:
    if given.get("tools", []) != []:
        tools = parse_tools(given["tools"])
        wanted, where = given.get("tool_choice", "auto"), "tool_choice"
    elif given.get("functions", []) != []:
        tools = _parse_functions(given["functions"])
        wanted, where = given.get("function_call", "auto"), "function_call"
    else:
        return _without_tools(given)
    if (
        isinstance(wanted, dict)
        and wanted.get("type") == "allowed_tools"
        and where == "tool_choice"
    ):
        return _allowed(tools, wanted.get("allowed_tools"))
    if wanted == "none":
        return ToolChoice(tools)
    if wanted == "auto":
        return ToolChoice(tools, tools)
    if wanted == "required" and where == "tool_choice":
        return ToolChoice(tools, tools, is_required=True, instruction=_CALL_ONE)
    tool = _find(tools, *_named(wanted, where))
    text = _CALL_THIS.format(tool.alias)
    return ToolChoice(tools, (tool,), is_required=True, instruction=text)


def _find(tools: tuple[Tool, ...], name: str, at: str) -> Tool:
    for tool in tools:
        if tool.name == name:
            return tool
    raise InvalidRequest(f"Invalid '{at}': no function '{name[:64]}' is offered.", param=at)


def _allowed(tools: tuple[Tool, ...], given: Any) -> ToolChoice:
    """Read a choice of some of the tools, which are then the only ones that are offered."""
    where = "tool_choice.allowed_tools"
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
    named = [_named_tool(entry, f"{where}.tools[{index}]") for index, entry in enumerate(entries)]
    wanted = {_find(tools, name, at).name for name, at in named}
    offered = tuple(tool for tool in tools if tool.name in wanted)
    if mode == "auto" or not offered:
        return ToolChoice(tools, offered)
    return ToolChoice(tools, offered, is_required=True, instruction=_CALL_ONE)


def _fields(given: Mapping[str, Any], tools: tuple[Tool, ...]) -> RequestFields:
    name = "tools[{}].function.name" if given.get("tools") else "functions[{}].name"
    named = {tool.alias: (tool.name, name.format(index)) for index, tool in enumerate(tools)}
    return RequestFields(_effort(given)[1], named)


def _without_tools(given: Mapping[str, Any]) -> ToolChoice:
    for name, source in (("tool_choice", "tools"), ("function_call", "functions")):
        if given.get(name, "none") not in (
            "none",
            "auto",
        ):  # it may be a dict, which no set can hold
            raise InvalidRequest(f"'{name}' is only allowed when '{source}' are given.", param=name)
    return ToolChoice(())


def _parse_functions(given: Any) -> tuple[Tool, ...]:
    if not isinstance(given, list):
        raise invalid_type("functions", "an array of functions", given)
    check_amount(given, "functions")
    tools = tuple(parse_function(entry, f"functions[{i}]") for i, entry in enumerate(given))
    check_distinct(tools, "functions[{}].name")
    return tools


def _named(wanted: Any, where: str) -> tuple[str, str]:
    """Return the name in a choice of one function, and where it stands."""
    if not isinstance(wanted, dict):
        modes = ("none", "auto", "required") if where == "tool_choice" else ("none", "auto")
        raise invalid_value(where, wanted, modes)
    return _named_tool(wanted, where) if where == "tool_choice" else _name(wanted, where)


def _named_tool(wanted: Any, where: str) -> tuple[str, str]:
    if not isinstance(wanted, dict):
        raise invalid_type(where, "an object", wanted)
    kind = wanted.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    if kind != "function":
        raise invalid_value(f"{where}.type", kind, ("function",))
    function = wanted.get("function", {})
    if not isinstance(function, dict):
        raise invalid_type(f"{where}.function", "an object", function)
    return _name(function, f"{where}.function")


def _name(wanted: Mapping[str, Any], where: str) -> tuple[str, str]:
    return required_string(wanted, "name", where), f"{where}.name"


def _effort(given: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the effort and its field: OpenAI's for this endpoint, else that of the Responses API and OpenRouter."""
    effort = given.get("reasoning_effort")
    if effort is not None:
        return effort, "reasoning_effort"
    effort = given.get("reasoning", {}).get("effort")
    if effort is not None and not isinstance(effort, str):
        raise invalid_type("reasoning.effort", "a string", effort)
    return effort, "reasoning.effort" if effort is not None else "reasoning_effort"


_TIERS = {"flex": "flex", "priority": "priority", "fast": "priority"}
"""The tiers that codex hands on, in the words that it sends. `auto` and `default` need no word."""


def _service_tier(given: Mapping[str, Any]) -> str | None:
    return _TIERS.get(given.get("service_tier", "auto"))
