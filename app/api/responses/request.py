"""Body of a request to the Responses API, into what is asked of codex and what its answer repeats. Pure.

In two steps, since a request may go on with answers that are kept: `parse_body` checks the fields and says what has to
be looked up; `to_request` reads the whole conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from app.answers.constraints import AnswerConstraints
from app.answers.field_errors import invalid_type, invalid_value
from app.answers.output_format import OutputFormat
from app.answers.tools import names_by_alias, to_dynamic_tool
from app.api.content import ImageFields, Past, PixelCount
from app.api.input_items import ROOT, InputReader, input_list, referred
from app.api.members import with_names
from app.api.output_formats import text_format, text_verbosity
from app.api.responses.schemas import check_fields
from app.api.sampling import conversation_names, service_tier
from app.api.tool_choice import ToolChoice, parse_choice, without_tools
from app.api.tools import ToolList, is_hosted, parse_tools, with_late
from app.backend.request import Item, developer_item, estimate_tokens
from app.errors import InvalidRequest
from app.images import dimensions

ENCRYPTED_REASONING = "reasoning.encrypted_content"
_INCLUDES = (
    *(ENCRYPTED_REASONING, "file_search_call.results", "web_search_call.results"),
    *("web_search_call.action.sources", "message.input_image.image_url"),
    *("computer_call_output.output.image_url", "code_interpreter_call.outputs"),
)
_LOGPROBS = "message.output_text.logprobs"
_SUMMARIES = ("auto", "concise", "detailed", "none")
_MOST_PAIRS, _LONGEST_NAME, _LONGEST_VALUE = 16, 64, 512


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """Checked fields of a body, the input still as the caller wrote it. `names` are what it calls the conversation."""

    given: Mapping[str, Any]
    ignored: tuple[str, ...]
    input: tuple[Any, ...]
    names: tuple[str, ...]

    @property
    def previous_id(self) -> str | None:
        """The answer that the request continues."""
        return self.given.get("previous_response_id")

    @property
    def is_stored(self) -> bool:
        """True if the answer is to be kept."""
        return bool(self.given.get("store", True))

    @property
    def is_background(self) -> bool:
        """True if nobody waits for the answer."""
        return bool(self.given.get("background", False))

    def references(self) -> Iterator[str]:
        """Yield the ids of kept items that the input means."""
        yield from filter(None, map(referred, self.input))


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A checked request. `model` is None where the gateway's default is meant.

    `image_fields` has the address of each remote image after the model's last answer, and the field that names it
    first; `past_images` has those before it. `pixels` is the number of all others. `tools` are those of the body and
    of the items.
    """

    body: ResponseBody
    model: str | None
    items: tuple[Item, ...]
    instructions: tuple[Item, ...]
    image_fields: Mapping[str, str]
    past_images: Mapping[str, str]
    pixels: int
    stream: bool
    effort: str | None
    summary: str | None
    service_tier: str | None
    verbosity: str | None
    tools: ToolList
    dynamic_tools: tuple[Mapping[str, Any], ...]
    output_schema: Mapping[str, Any] | None
    constraints: AnswerConstraints
    ignored: tuple[str, ...]


def parse_body(body: Mapping[str, Any], *, needs_model: bool = True) -> ResponseBody:
    """Check the fields. Raises `InvalidRequest`, which names the first one that is wrong."""
    given, ignored = check_fields(body, needs_model=needs_model)
    _check_metadata(given.get("metadata", {}))
    _check_include(given.get("include", []))
    if given.get("background") and not given.get("store", True):
        raise InvalidRequest(
            "Invalid 'background': a background response has to be stored. Leave 'store' out, or set it to true.",
            param="background",
        )
    return ResponseBody(given, ignored, _input(given), conversation_names(body))


def to_request(
    body: ResponseBody,
    before: Sequence[Any] = (),
    references: Mapping[str, Item] = MappingProxyType({}),
) -> ResponseRequest:
    """Read the conversation: what came `before`, and the input. Raises `InvalidRequest`, which names the field."""
    given = body.given
    image_fields, past, count = ImageFields(), Past(ROOT), PixelCount()
    reader = InputReader(image_fields, past, count, references)
    items = reader.add_all(body.input, given.get("instructions"), before)
    dimensions.check_together(count.total, ROOT)
    tools, choice = _tools(given, reader)
    output = text_format(given)
    return ResponseRequest(
        body=body,
        model=given.get("model"),
        items=items,
        instructions=tuple(
            developer_item(text) for text in (choice.instruction, output.instruction) if text
        ),
        image_fields=image_fields,
        past_images=past.images,
        pixels=count.total,
        stream=given.get("stream", False),
        effort=_effort(given),
        summary=_summary(given),
        service_tier=service_tier(given),
        verbosity=text_verbosity(given),
        tools=tools,
        dynamic_tools=tuple(map(to_dynamic_tool, choice.offered)),
        output_schema=output.strict_schema,
        constraints=_constraints(given, choice, output, items),
        ignored=with_names(
            body.ignored, (*output.ignored, *past.unread, *reader.ignored, *tools.ignored)
        ),
    )


def _constraints(
    given: Mapping[str, Any], choice: ToolChoice, output: OutputFormat, items: tuple[Item, ...]
) -> AnswerConstraints:
    return AnswerConstraints(
        max_tokens=given.get("max_output_tokens"),
        names=names_by_alias(tool.name for tool in choice.tools),
        offers_tools=bool(choice.offered),
        requires_tool=choice.is_required,
        parallel_calls=given.get("parallel_tool_calls", True),
        shows_reasoning=True,
        output=output,
        # A stream is gone before it could be checked, and a model that may call tools may do that instead.
        can_check=not given.get("stream", False) and not choice.offered,
        prompt_tokens=estimate_tokens(items),
    )


def _input(given: Mapping[str, Any]) -> tuple[Any, ...]:
    items = input_list(given.get("input", []))
    if not items and "previous_response_id" not in given:
        raise InvalidRequest(
            "Invalid 'input': empty array. Expected at least one item.",
            param=ROOT,
            code="empty_array",
        )
    return items


# Tools


def _tools(given: Mapping[str, Any], reader: InputReader) -> tuple[ToolList, ToolChoice]:
    """Return the tools of the request, and what the model may call of them; those among the items come last."""
    tools = with_late(parse_tools(given.get("tools", [])), reader.tools)
    wanted = given.get("tool_choice", "auto")
    if is_hosted(wanted):
        raise InvalidRequest(
            "Unsupported 'tool_choice': this gateway does not run that tool.",
            param="tool_choice",
            code="unsupported_parameter",
        )
    if tools.tools:
        return tools, parse_choice(wanted, tools.tools, "tool_choice")
    without_tools(wanted, "tool_choice", "tools")
    return tools, ToolChoice(())


# Reasoning


def _effort(given: Mapping[str, Any]) -> str | None:
    wanted = given.get("reasoning", {}).get("effort")
    if wanted is not None and not isinstance(wanted, str):
        raise invalid_type("reasoning.effort", "a string", wanted)
    return wanted


def _summary(given: Mapping[str, Any]) -> str | None:
    """Return which summaries are asked for; none where nobody asks, as at OpenAI."""
    reasoning = given.get("reasoning", {})
    for name in ("summary", "generate_summary"):
        wanted = reasoning.get(name)
        if wanted is not None:
            if wanted not in _SUMMARIES:
                raise invalid_value(f"reasoning.{name}", wanted, _SUMMARIES)
            return str(wanted)
    return None


# What is only repeated


def _check_include(given: Any) -> None:
    for index, name in enumerate(given):
        where = f"include[{index}]"
        if not isinstance(name, str):
            raise invalid_type(where, "a string", name)
        if name == _LOGPROBS:
            raise InvalidRequest(
                f"Unsupported parameter: '{where}' asks for '{name}', which this gateway does not have.",
                param=where,
                code="unsupported_parameter",
            )
        if name not in _INCLUDES:
            raise invalid_value(where, name, _INCLUDES)


def _check_metadata(given: Mapping[str, Any]) -> None:
    if len(given) > _MOST_PAIRS:
        raise InvalidRequest(
            f"Invalid 'metadata': too many properties. Expected an object with at most {_MOST_PAIRS} properties, but "
            f"got an object with {len(given)} properties instead.",
            param="metadata",
            code="object_above_max_properties",
        )
    for name, value in given.items():
        where = f"metadata.{name[:_LONGEST_NAME]}"
        if not isinstance(value, str):
            raise invalid_type(where, "a string", value)
        for text, most in ((name, _LONGEST_NAME), (value, _LONGEST_VALUE)):
            if len(text) > most:
                raise InvalidRequest(
                    f"Invalid '{where}': string too long. Expected a string with maximum length {most}, but got a "
                    f"string with length {len(text)} instead.",
                    param=where,
                    code="string_above_max_length",
                )
