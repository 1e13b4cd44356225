"""Body of a chat completion request, into what is asked of codex and the constraints of its answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from app.answers.constraints import AnswerConstraints
from app.answers.field_errors import invalid_type
from app.answers.output_format import OutputFormat
from app.answers.tools import check_amount, names_by_alias, parse_function, to_dynamic_tool
from app.api.chat_completions.messages import to_items
from app.api.chat_completions.schemas import TOKEN_LIMITS, check_fields
from app.api.content import ImageFields, Past, PixelCount
from app.api.input_items import ROOT, InputReader, input_list
from app.api.members import with_names
from app.api.output_formats import parse_format, text_format, text_verbosity
from app.api.sampling import (
    PARAGRAPH,
    choice_count,
    conversation_names,
    include_usage,
    service_tier,
    stop_sequences,
)
from app.api.tool_choice import ToolChoice, parse_choice, without_tools
from app.api.tools import ClientTool, ToolList, check_distinct, parse_tools, with_late
from app.backend.request import Item, developer_item, estimate_tokens
from app.images.dimensions import check_together


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
    the conversation. `custom_tools` has the names of those that take a text.
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
    custom_tools: frozenset[str] = frozenset()


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
    image_fields, past, count = ImageFields(), Past(_conversation_field(given)), PixelCount()
    items, late = _items(given, image_fields, past, count)
    tools, choice = _tools(given, late)
    output = _format(given)
    return ChatRequest(
        model=given.get("model"),
        items=items,
        instructions=_instructions(choice.instruction, output.instruction),
        image_fields=image_fields,
        stream=given.get("stream", False),
        include_usage=include_usage(given),
        n=choice_count(given, max_choices),
        effort=_effort(given)[0],
        service_tier=service_tier(given),
        verbosity=given.get("verbosity", text_verbosity(given)),
        dynamic_tools=tuple(map(to_dynamic_tool, choice.offered)),
        output_schema=output.strict_schema,
        constraints=replace(
            _constraints(given, choice, output, items),
            shows_reasoning=shows_reasoning,
            commentary_is_reasoning=commentary_is_reasoning,
        ),
        legacy_calls=_is_legacy(given),
        ignored=with_names(ignored, (*output.ignored, *past.unread)),
        fields=RequestFields(_effort(given)[1], tools.fields),
        past_images=past.images,
        pixels=count.total,
        names=conversation_names(body),
        custom_tools=tools.custom,
    )


def _conversation_field(given: Mapping[str, Any]) -> str:
    """Return the field that has the conversation."""
    return "messages" if "messages" in given else ROOT


def _items(
    given: Mapping[str, Any], image_fields: ImageFields, past: Past, count: PixelCount
) -> tuple[tuple[Item, ...], Sequence[ClientTool]]:
    """Return the conversation, and tools that stand in it."""
    if _conversation_field(given) != ROOT:
        items, tools = to_items(given["messages"], image_fields, past, count), list[ClientTool]()
        check_together(count.total, "messages")
        return items, tools
    reader = InputReader(image_fields, past, count)
    items = reader.add_all(input_list(given["input"]), given.get("instructions"))
    check_together(count.total, ROOT)
    return items, reader.tools


def _format(given: Mapping[str, Any]) -> OutputFormat:
    if "response_format" in given:
        return parse_format(given["response_format"])
    return text_format(given)


def _instructions(*texts: str | None) -> tuple[Item, ...]:
    return tuple(developer_item(text) for text in texts if text)


def _constraints(
    given: Mapping[str, Any], choice: ToolChoice, output: OutputFormat, items: tuple[Item, ...]
) -> AnswerConstraints:
    return AnswerConstraints(
        stops=stop_sequences(given.get("stop")),
        max_tokens=next((given[name] for name in TOKEN_LIMITS if name in given), None),
        names=names_by_alias(tool.name for tool in choice.tools),
        offers_tools=bool(choice.offered),
        requires_tool=choice.is_required,
        parallel_calls=given.get("parallel_tool_calls", True) and not _is_legacy(given),
        output=output,
        # A stream is gone before it could be checked, and a model that may call tools may do that instead.
        can_check=not given.get("stream", False) and not choice.offered,
        prompt_tokens=estimate_tokens(items),
        separator=PARAGRAPH,
    )


def _is_legacy(given: Mapping[str, Any]) -> bool:
    return bool(given.get("functions")) and not given.get("tools")


# Tools


def _tools(
    given: Mapping[str, Any], late: Sequence[ClientTool] = ()
) -> tuple[ToolList, ToolChoice]:
    """Return the tools of the request, and what the model may call of them; `late` are those in the conversation."""
    if late or given.get("tools", []) != []:
        tools = with_late(parse_tools(given.get("tools", []), has_namespaces=False), late)
        return tools, parse_choice(given.get("tool_choice", "auto"), tools.tools, "tool_choice")
    if given.get("functions", []) != []:
        tools = _parse_functions(given["functions"])
        wanted = given.get("function_call", "auto")
        return tools, parse_choice(wanted, tools.tools, "function_call", ("none", "auto"))
    for name, source in (("tool_choice", "tools"), ("function_call", "functions")):
        without_tools(given.get(name, "none"), name, source)
    return ToolList(), ToolChoice(())


def _parse_functions(given: Any) -> ToolList:
    if not isinstance(given, list):
        raise invalid_type("functions", "an array of functions", given)
    check_amount(given, "functions")
    functions = [parse_function(entry, f"functions[{i}]") for i, entry in enumerate(given)]
    tools = [ClientTool(it.name, f"functions[{i}].name", it) for i, it in enumerate(functions)]
    check_distinct(tools)
    return ToolList(tuple(tools))


def _effort(given: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the effort and its field: OpenAI's for this endpoint, else that of the Responses API and OpenRouter."""
    effort = given.get("reasoning_effort")
    if effort is not None:
        return effort, "reasoning_effort"
    effort = given.get("reasoning", {}).get("effort")
    if effort is not None and not isinstance(effort, str):
        raise invalid_type("reasoning.effort", "a string", effort)
    return effort, "reasoning.effort" if effort is not None else "reasoning_effort"
