"""Reader of `tools`: functions in the form of chat completions or of the Responses API, custom tools, namespaces. Pure.

codex offers the model functions. A custom tool, whose input is plain text, is offered as a function of one text; the
functions of a namespace, each by a name with the namespace before it. `ClientTool` has what the client calls them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

import orjson

from app.answers.field_errors import invalid_type, invalid_value, missing, required_string
from app.answers.tools import Tool, check_amount, parse_function
from app.errors import InvalidRequest

INPUT = "input"
"""The argument in which the text for a custom tool comes."""

HOSTED = frozenset(
    {
        *("web_search", "web_search_2025_08_26", "web_search_preview"),
        *("web_search_preview_2025_03_11", "image_generation", "tool_search"),
    }
)
"""Tools of OpenAI's own that agents offer by habit, and can do without: they are left out, and named as ignored."""


def text_of(arguments: str) -> str:
    """Return the text for a custom tool out of the arguments of the function that stands for it."""
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments  # the model's own words, whatever they are
    text = found.get(INPUT) if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments


def arguments_of(text: str) -> str:
    """Return the arguments of the function that stands for a custom tool."""
    return orjson.dumps({INPUT: text}).decode()


class CallForm(Enum):
    """How a client is told of a call."""

    FUNCTION = "function_call"
    CUSTOM = "custom_tool_call"


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool as the client knows it, and as the model is offered it. `field` is that of its name in the request."""

    name: str
    field: str
    tool: Tool
    form: CallForm = CallForm.FUNCTION
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class ToolList:
    """The tools of one request, in their order. `ignored` names those that are left out."""

    tools: tuple[ClientTool, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[Tool, ...]:
        """What the model may be offered."""
        return tuple(entry.tool for entry in self.tools)

    @property
    def custom(self) -> frozenset[str]:
        """The names of custom tools, as the client has them."""
        return frozenset(it.name for it in self.tools if it.form is CallForm.CUSTOM)

    @property
    def fields(self) -> Mapping[str, tuple[str, str]]:
        """The client's name of each tool and its field, by the name that codex knows."""
        return MappingProxyType({it.tool.alias: (it.name, it.field) for it in self.tools})


def parse_tools(given: Any, where: str = "tools", *, has_namespaces: bool = True) -> ToolList:
    """Read an array of tools. Raises `InvalidRequest`, which names the field.

    Without `has_namespaces`, a tool is a function or a custom tool: the endpoint has no words for others.
    """
    if not isinstance(given, list):
        raise invalid_type(where, "an array of tools", given)
    check_amount([*map(_function_of, _with_inner(given))], where)
    tools: list[ClientTool] = []
    ignored: dict[str, None] = {}
    for index, entry in enumerate(given):
        at = f"{where}[{index}]"
        kind = _kind(entry, at)
        if kind == "function":
            tools.append(_function(entry, at))
        elif kind == "custom":
            tools.append(_custom(*_unwrapped(entry, at)))
        elif not has_namespaces:
            raise invalid_value(f"{at}.type", kind, ("function", "custom"))
        elif kind == "namespace":
            tools += _namespace(entry, at)
        elif is_hosted(entry):
            ignored[f"tools.{kind}"] = None
        else:
            raise _not_served(kind, at)
    check_distinct(tools)
    return ToolList(tuple(tools), tuple(ignored))


def with_late(tools: ToolList, late: Iterable[ClientTool]) -> ToolList:
    """Return the tools of a request with those that came in its conversation: what was found again is there once.

    Raises `InvalidRequest` for too many together, as for those of one field; also with the grammars of custom tools.
    """
    known = {entry.tool.name for entry in tools.tools}
    more = {entry.tool.name: entry for entry in late if entry.tool.name not in known}
    together = (*tools.tools, *more.values())
    if more or tools.custom:
        check_amount([_words_of(entry.tool) for entry in together], "tools")
    return replace(tools, tools=together)


def _words_of(tool: Tool) -> Mapping[str, Any]:
    return {"description": tool.description, "parameters": tool.parameters}


def check_distinct(tools: Sequence[ClientTool]) -> None:
    """Refuse a name that is there twice: a call of it would be ambiguous."""
    seen: set[str] = set()
    for entry in tools:
        if entry.tool.name in seen:
            raise InvalidRequest(
                f"Invalid '{entry.field}': '{entry.name}' is there twice.", param=entry.field
            )
        seen.add(entry.tool.name)


def function_name(name: str, namespace: str | None) -> str:
    """Return the name under which the model is offered a function of a namespace, or of none."""
    return f"{namespace}__{name}" if namespace else name


def is_hosted(entry: Any) -> bool:
    """Return True for a tool of OpenAI's own that is left out, or for a choice of one."""
    kind = entry.get("type") if isinstance(entry, dict) else None
    return isinstance(kind, str) and kind in HOSTED  # no set can hold a list


def _with_inner(given: list[Any]) -> Iterator[Any]:
    """Yield the entries, and those of namespaces behind each."""
    for entry in given:
        yield entry
        inner = entry.get("tools") if isinstance(entry, dict) else None
        yield from inner if isinstance(inner, list) else ()


def _function_of(entry: Any) -> Any:
    """Return the object that describes a tool: the entry, or the one wrapped in it."""
    if not isinstance(entry, dict):
        return None
    return next((entry[name] for name in ("function", "custom") if name in entry), entry)


def _kind(entry: Any, where: str) -> Any:
    if not isinstance(entry, dict):
        raise invalid_type(where, "an object", entry)
    kind = entry.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    return kind


def _function(entry: Mapping[str, Any], where: str) -> ClientTool:
    function = entry.get("function")
    if function is None:
        if "name" not in entry:  # nothing of the flat form, so it is meant to be the wrapped one
            raise missing(f"{where}.function")
        tool = parse_function(entry, where)
        return ClientTool(tool.name, f"{where}.name", tool)
    tool = parse_function(function, f"{where}.function")
    return ClientTool(tool.name, f"{where}.function.name", tool)


# What the Responses API has beside functions

_ONE_TEXT: Mapping[str, Any] = MappingProxyType(
    {
        "type": "object",
        "properties": {INPUT: {"type": "string", "description": "The whole input, as plain text."}},
        "required": [INPUT],
        "additionalProperties": False,
    }
)


def _unwrapped(entry: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any], str]:
    """Return the object that describes a custom tool, and its place: chat completions have it in a wrapper."""
    if "custom" not in entry:
        return entry, where
    custom, at = entry["custom"], f"{where}.custom"
    if not isinstance(custom, dict):
        raise invalid_type(at, "an object", custom)
    return custom, at


def _custom(entry: Mapping[str, Any], where: str, namespace: str | None = None) -> ClientTool:
    described = parse_function({"name": entry.get("name")} | _description(entry), where)
    texts = (described.description, _grammar(entry.get("format"), f"{where}.format"))
    description = "\n\n".join(filter(None, texts))
    tool = Tool(function_name(described.name, namespace), description, _ONE_TEXT)
    return ClientTool(described.name, f"{where}.name", tool, CallForm.CUSTOM, namespace)


def _description(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": entry["description"]} if "description" in entry else {}


def _grammar(given: Any, where: str) -> str:
    """Return what the model is told of the form of a custom tool's input: nobody enforces it."""
    if given is None:
        return ""
    if not isinstance(given, dict):
        raise invalid_type(where, "an object", given)
    kind = given.get("type")
    if kind == "text":
        return ""
    if kind != "grammar":
        raise invalid_value(f"{where}.type", kind, ("text", "grammar"))
    grammar = given.get("grammar", given)
    if not isinstance(grammar, dict):
        raise invalid_type(f"{where}.grammar", "an object", grammar)
    syntax = required_string(grammar, "syntax", where)
    definition = required_string(grammar, "definition", where)
    return f"The input must follow this grammar ({syntax}):\n{definition}"


def _namespace(entry: Mapping[str, Any], where: str) -> Iterator[ClientTool]:
    namespace = parse_function({"name": entry.get("name")} | _description(entry), where).name
    inner = entry.get("tools")
    if not isinstance(inner, list):
        raise invalid_type(f"{where}.tools", "an array of tools", inner)
    for index, one in enumerate(inner):
        at = f"{where}.tools[{index}]"
        kind = _kind(one, at)
        if kind == "custom":
            yield _custom(one, at, namespace)
        elif kind == "function":
            function = parse_function(one, at)
            named = function_name(function.name, namespace)
            tool = Tool(named, function.description, function.parameters)
            yield ClientTool(function.name, f"{at}.name", tool, namespace=namespace)
        else:
            raise invalid_value(f"{at}.type", kind, ("function", "custom"))


def _not_served(kind: Any, where: str) -> InvalidRequest:
    if not isinstance(kind, str):
        return invalid_type(f"{where}.type", "a string", kind)
    return InvalidRequest(
        f"Unsupported tool at '{where}': this gateway does not run tools of type '{kind[:64]}'. "
        "Functions, custom tools and namespaces of them are served.",
        param=f"{where}.type",
        code="unsupported_parameter",
    )
